"""The errors a user can meet: each is one line saying what, where and what to do, and carries its exit code."""

from __future__ import annotations

import errno


class SalipError(Exception):
    """Base of every error meant for people; `exit_code` is what the process ends with."""

    exit_code = 1


class ConfigError(SalipError):
    """The configuration is wrong: unknown key, wrong type, out of range, contradictory (exit 2)."""

    exit_code = 2


class DataError(SalipError):
    """The data set cannot be used: absent, wrong layout, no images (exit 3)."""

    exit_code = 3


class WeightsError(SalipError):
    """Network weights are absent, damaged, unverified or of another variant (exit 4)."""

    exit_code = 4


class TooManyFailures(SalipError):
    """The run ended, but more cases failed than `max_failed` allows (exit 5)."""

    exit_code = 5


class EnvironmentFault(SalipError):
    """The machine stands in the way: disk, permissions, locks, packages (exit 6)."""

    exit_code = 6


class Unwritable(EnvironmentFault):
    """A file cannot be written; what was finished before it is kept, so that its command may go on where it stopped."""


class CaseError(SalipError):
    """One case cannot be processed; the run records it as `failed(CODE)` and goes on.

    Args:
        code: short reason, e.g. `E_READ`, `E_SHAPE`, `E_NONFINITE`, `E_DIMS`, `E_AFFINE`, `E_PATH`, `E_VANISHED`.
        message: one sentence naming the file and what to do.
    """

    exit_code = 3

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class VanishedTarget(CaseError):
    """E_VANISHED: resizing leaves no pixel of a target that the file holds, so that it can be neither found nor scored.

    Args:
        message: one sentence naming the file and what to do.
        side: the working size that keeps the target, in pixels; None where only native size does.
    """

    CODE = "E_VANISHED"

    def __init__(self, message: str, side: int | None) -> None:
        super().__init__(self.CODE, message)
        self.side = side


_PASSING = {errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY, errno.EMFILE}
"""Why a file that is there is not read, on a disk or with permissions that may be mended."""


def require_lasting(error: CaseError) -> None:
    """Let a case go without what it lacks for good; a result that lacks what may be there the next time is none.

    Raises:
        EnvironmentFault: the error came from a file that is there, but cannot be read at the moment.
    """
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in _PASSING:
        raise EnvironmentFault(f"results are not made as yet: {error}") from error
