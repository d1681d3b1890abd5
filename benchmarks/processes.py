"""Fresh processes: what was measured before leaves neither memory nor settings behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")
Answer = dict[str, Any]


@dataclass(frozen=True)
class Conditions:
    """What both contestants run under.

    Attributes:
        threads: of torch and OpenCV.
        allocator: `default`, or `kept` (`salip_exp._runs._process.keep_freed_memory`).
    """

    threads: int
    allocator: str


def fresh(conditions: Conditions, function: Callable[..., Iterator[Answer]], **arguments: Any) -> Iterator[Answer]:
    """What a module's generator function yields when it runs in a process of its own, as it comes.

    Args:
        conditions: of the process.
        function: of a module beside this one.
        arguments: of the function; they and what it yields go through JSON.

    Raises:
        SystemExit: the process failed; it has said why.
    """
    task = {**asdict(conditions), "module": function.__module__, "function": function.__name__, "arguments": arguments}
    environment = {**os.environ, "OMP_NUM_THREADS": str(conditions.threads)}
    command = [sys.executable, "-W", "ignore", str(WORKER), json.dumps(task)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            for answer in process.stdout:
                yield json.loads(answer)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise SystemExit(f"{function.__module__}.{function.__name__}({arguments}) ended with {process.returncode}")
