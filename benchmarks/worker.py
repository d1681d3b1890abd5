"""A function of a benchmark in a process of its own; `processes.fresh` starts it."""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any

from salip_exp._runs._process import keep_freed_memory, use_threads


def main() -> None:
    """Yield what the function yields as lines of JSON; what libraries print goes to stderr."""
    task = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    if task["allocator"] == "kept" and not keep_freed_memory():
        raise SystemExit("allocator=kept needs glibc")
    use_threads(task["threads"])
    for answer in getattr(import_module(task["module"]), task["function"])(**task["arguments"]):
        answers.write(json.dumps(answer, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return value.item()  # numbers of numpy


if __name__ == "__main__":
    main()
