"""The process that a run lives in: signals that stop it, what it hands on to processes that it starts, and settings
that make networks faster and change no bit.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Numbers of glibc's `mallopt`, from malloc.h."""
_PAD = 64 * 2**20


def keep_freed_memory() -> bool:
    """Let glibc keep what is freed for the next layer, instead of giving it back and asking for fresh pages.

    Every large tensor is otherwise mapped anew and its pages faulted in one by one, which costs up to a half of a
    forward on a CPU, the more the larger its tensors (`benchmarks/allocator.py`).

    Returns:
        Whether the allocator is glibc's and took the settings.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has no such function
        return False
    return all(mallopt(name, value) for name, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, -1), (M_TOP_PAD, _PAD)))


_EVERYBODY = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP",
    "SYSTEMROOT", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
)  # fmt: skip
"""Variables that any program may need to find its files and to write its texts."""
PYTHON = (
    "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE", "PYTHONUTF8", "PYTHONIOENCODING",
    "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX", "VIRTUAL_ENV", "CONDA_PREFIX",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "XDG_*", "COVERAGE_*",
)  # fmt: skip
"""What finds the interpreter's packages and their libraries."""
NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
"""The way to servers."""
COMPUTING = (
    "SALIP_*", "OMP_*", "MKL_*", "KMP_*", "GOMP_*", "OPENBLAS_*", "CUDA_*", "NVIDIA_*", "TORCH_*", "PYTORCH_*",
    "CUBLAS_*",
)  # fmt: skip
"""What decides where and with what is computed: a worker must do as this process does."""


def environment_of_children(*families: Collection[str]) -> dict[str, str]:
    """All that a process which this one starts gets to see of its variables: those named here, and no other.

    Args:
        families: names beside those that every program may need; `XDG_*` is all that begin so.
    """
    names = [each for family in (_EVERYBODY, *families) for each in family]
    whole, begun = set(names), tuple(each[:-1] for each in names if each.endswith("*"))
    return {name: value for name, value in os.environ.items() if name in whole or name.startswith(begun)}


@contextmanager
def handing_on(environment: Mapping[str, str]) -> Iterator[None]:
    """Processes that are started in the `with` block by multiprocessing, which takes no environment, get this one."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


CODES = {
    getattr(signal, name): 128 + getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")  # the last two are a queue's notice before it ends a job
    if hasattr(signal, name)
}
"""Exit codes of signals that stop a command."""


class Stop:
    """Whether to stop after the case at hand.

    Attributes:
        code: exit code of the signal that came, None while none has.
    """

    def __init__(self) -> None:
        self.code: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second one stops at once."""
        if self.code is None:
            self.code = CODES[signal.Signals(number)]
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise SystemExit(CODES[signal.Signals(number)])


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Turn signals (`CODES`) into a wish, inside the `with` block; only the main thread gets any."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop) for number in CODES}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
