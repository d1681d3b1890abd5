"""Stands for the program: `python -m stand_in FOLDER [CODE]` says where it is, and works until FOLDER/go is there.

It answers signals as a worker does: it lets go, and leaves with the signal's exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

folder = Path(sys.argv[1])


def leave(number: int, frame: FrameType | None) -> None:
    print("let go for", signal.Signals(number).name, flush=True)
    sys.exit(128 + number)


for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(each, leave)
node = os.environ.get("SLURMD_NODENAME") or os.environ.get("STAND_IN_NODE") or "here"
print("begun on", node, flush=True)
(folder / f"{node}-{os.getpid()}-{time.time_ns()}.begun").touch()
while not (folder / "go").exists():
    time.sleep(0.02)
print("done", flush=True)
(folder / f"{node}-{os.getpid()}.done").touch()
sys.exit(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
