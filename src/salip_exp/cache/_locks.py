"""Single flight: who computes an entry keeps others from computing it too, in threads and in processes.

A thread may hold locks of several stages, the one nearer to the result first (organ, then embedding); never two of one
stage. So nobody can wait in a circle.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, Timeout

from salip_exp._files import process_lock
from salip_exp.cache._base import Stage

log = logging.getLogger(__name__)

_SLOT = 2  # leading characters of a key that name its lock: a stage has 256 lock files at most
_POLL_S = 0.01
PATIENCE_S = 60.0  # until the log says whom a process waits for


class ThreadLocks:
    """Locks between the threads of one process, one per stage and slot."""

    def __init__(self) -> None:
        self._locks: dict[tuple[Stage, str], threading.Lock] = {}
        self._held = threading.local()

    @contextmanager
    def hold(self, stage: Stage, key: str) -> Iterator[None]:
        """Keep other threads from the slot of a key.

        Raises:
            RuntimeError: this thread holds a lock of the stage already, and might wait for itself.
        """
        held: set[Stage] = self._held.__dict__.setdefault("stages", set())
        if stage in held:
            raise RuntimeError(f"an entry of {stage} cannot be computed while another one of {stage} is")
        with self._locks.setdefault((stage, key[:_SLOT]), threading.Lock()):
            held.add(stage)
            try:
                yield
            finally:
                held.remove(stage)


class FileLocks:
    """Locks between processes, and between the threads of each; a lock dies with its process, however that ends.

    Args:
        folder: of the lock files, which are empty and stay: unlinking a lock that others wait for would split it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadLocks()
        self._usable = True

    @contextmanager
    def hold(self, stage: Stage, key: str) -> Iterator[None]:
        """Keep other threads and processes from the slot of a key; where files cannot be locked, threads alone."""
        with self._threads.hold(stage, key):
            lock = self._acquired(self._folder / stage / f"{key[:_SLOT]}.lock") if self._usable else None
            try:
                yield
            finally:
                if lock is not None:
                    lock.release()

    def _acquired(self, path: Path) -> BaseFileLock | None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = process_lock(path)
            _wait(lock, path)
        except OSError as fault:
            self._give_up(fault)
            return None
        return lock

    def _give_up(self, fault: OSError) -> None:
        if self._usable:
            self._usable = False
            log.warning(
                "no locks in %s (%s): processes that share this cache may compute the same entry twice, with the same "
                "result",
                self._folder,
                fault.strerror or fault,
            )


def _wait(lock: BaseFileLock, path: Path) -> None:
    try:
        lock.acquire(timeout=PATIENCE_S, poll_interval=_POLL_S)
    except Timeout:
        log.info("waiting for another process, which holds %s and computes for more than %g s", path, PATIENCE_S)
        lock.acquire(timeout=-1, poll_interval=_POLL_S)
