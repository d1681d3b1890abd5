"""What killed processes leave: a command is stopped at every call of interest, and the files it has by then are kept.

A SIGKILL leaves what stands in the files, whether written or mapped, and nothing of what the process still had in mind.
So one undisturbed command, stopped again and again, shows the files after a kill at each of its calls; where two calls
leave the same bytes, one of them stands for both.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SETTLED_S = 0.5  # a file that was changed longer ago than the clock of its file system is coarse


@dataclass(frozen=True)
class Kept:
    """A file or folder: its place below the root, its mode, when it was changed, and the hash of what it holds."""

    name: str
    mode: int
    changed_ns: int
    content: str | None


class States:
    """The files below a root at several moments; what they hold is kept once for all of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._contents: dict[str, bytes] = {}
        self._known: dict[tuple[int, int, int], str] = {}

    def now(self) -> tuple[Kept, ...]:
        """All files and folders as they are."""
        found = sorted(self.root.rglob("*"))
        return tuple(self._kept(path, path.lstat()) for path in found)

    def _kept(self, path: Path, facts: os.stat_result) -> Kept:
        content = None if path.is_dir() else self._content(path, facts)
        return Kept(str(path.relative_to(self.root)), facts.st_mode, facts.st_mtime_ns, content)

    def _content(self, path: Path, facts: os.stat_result) -> str:
        key = facts.st_ino, facts.st_size, facts.st_mtime_ns
        settled = time.time() - facts.st_mtime > _SETTLED_S and not path.name.endswith("-shm")  # that one is mapped
        if settled and key in self._known:
            return self._known[key]
        data = path.read_bytes()
        name = hashlib.sha256(data).hexdigest()
        self._contents[name] = data
        if settled:
            self._known[key] = name
        return name

    def restore(self, state: tuple[Kept, ...]) -> None:
        """Make the root what it was."""
        shutil.rmtree(self.root, ignore_errors=True)
        self.root.mkdir()
        for kept in state:
            path = self.root / kept.name
            if kept.content is None:
                path.mkdir()
            else:
                path.write_bytes(self._contents[kept.content])
                path.chmod(kept.mode & 0o7777)
        for kept in reversed(state):
            os.utime(self.root / kept.name, ns=(kept.changed_ns, kept.changed_ns))


def alike(state: tuple[Kept, ...]) -> tuple[tuple[str, str | None], ...]:
    """What two states have in common that differ in nothing but times."""
    return tuple((kept.name, kept.content) for kept in state)


def stops(process: int) -> Iterator[None]:
    """Each time that a child stops itself, till it ends; it goes on afterwards.

    Raises:
        RuntimeError: it did not end with exit code 0.
    """
    while True:
        _, status = os.waitpid(process, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        yield
        os.kill(process, signal.SIGCONT)
    if os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"a command that was only stopped ended with {os.waitstatus_to_exitcode(status)}")
