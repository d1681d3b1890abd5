"""What a process that this one starts gets to see of its variables: those that are named here, and no other."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

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
