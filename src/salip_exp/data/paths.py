"""Files below a data root, in natural order, and only there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from salip_exp.errors import CaseError, DataError


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key by which `9_HC` comes before `10_HC`."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in re.split(r"(\d+)", text) if part]


def require_folder(folder: Path, layout: str) -> Path:
    """The folder, or a DataError that names the expected layout."""
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: {layout}")
    return folder


def files_below(root: Path, pattern: str, suffixes: Iterable[str]) -> list[Path]:
    """Files of the given endings that match a glob below the root, in natural order; hidden files are no data."""
    endings = tuple(suffixes)
    found = (path for path in root.glob(pattern) if path.name.lower().endswith(endings))
    wanted = (path for path in found if not path.name.startswith(".") and (path.is_symlink() or path.is_file()))
    return sorted(wanted, key=lambda path: natural(path.relative_to(root).as_posix()))


def safe(path: Path, root: Path, follow_links: bool = False) -> Path:
    """The path, if it leads to a file inside the root.

    Raises:
        CaseError: E_PATH, a link that is broken, circular, or leads out of the root.
    """
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise CaseError("E_PATH", f"{path} is a link that leads nowhere: mend or remove it.") from error
    if not follow_links and not target.is_relative_to(root.resolve()):
        raise CaseError(
            "E_PATH", f"{path} leads out of {root}: copy the file, or allow links with dataset.files.follow_links=true."
        )
    return path


def stem(path: Path) -> str:
    """File name without its ending; `.nii.gz` is one ending."""
    return path.name[:-7] if path.name.lower().endswith(".nii.gz") else path.stem
