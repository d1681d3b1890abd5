"""A worker that ends with the process that started it: `python -m salip_exp._engines._tied PROCESS -m MODULE ...`."""

from __future__ import annotations

import os
import signal
import sys
import time
from threading import Thread

from salip_exp._engines._program import run

_LOOK_S = 0.5
_GRACE_S = 60.0  # for the case at hand, once nobody waits for it any more


def _watch(parent: int) -> None:
    """Ask this process to end when the other is gone, and end it where it does not."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run what the arguments say, and leave with its exit code."""
    Thread(target=_watch, args=(int(sys.argv[1]),), daemon=True).start()
    sys.exit(run(sys.argv[2:]))


if __name__ == "__main__":
    main()
