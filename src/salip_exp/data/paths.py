"""Files below a data root, in natural order, and only there."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from salip_exp._files import kind_of
from salip_exp.errors import CaseError, DataError

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
VOLUMES = (".nii", ".nii.gz")
_DOUBLE = (".nii.gz", ".ome.tif", ".ome.tiff")
"""Endings that are one, with two dots."""


def natural(text: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sort key by which `9_HC` comes before `10_HC`; no two texts have the same key."""
    parts = (part for part in re.split(r"(\d+)", text) if part)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts], text


def require_folder(folder: Path, layout: str) -> Path:
    """The folder, or a DataError that names the expected layout."""
    try:
        present = folder.is_dir()
    except OSError as error:  # a name too long, a disk that does not answer
        raise DataError(f"{folder} cannot be opened ({error.strerror}): {layout}") from error
    if not present:
        raise DataError(f"{folder} is not a folder: {layout}")
    return folder


def files_below(root: Path, pattern: str, suffixes: Iterable[str], follow_links: bool = False) -> list[Path]:
    """Files of the given endings that match a glob below the root, in natural order; hidden ones are no data.

    Links to folders are entered where they stay inside the root, or anywhere with `follow_links`, but never in a
    circle. A link that is not entered is listed itself, so that `safe` can refuse it by name.

    Raises:
        DataError: a folder cannot be listed.
    """
    if not root.is_dir():
        return []
    endings = tuple(suffixes)
    try:
        found = set(_matches(root, PurePosixPath(pattern).parts, (root.resolve(),), follow_links))
    except OSError as error:
        raise DataError(f"{error.filename} cannot be listed ({error.strerror}): allow reading it.") from error
    links = {path for path in found if path.is_dir()}
    wanted = {path for path in found - links if path.name.lower().endswith(endings)}
    if ".dcm" in endings:  # scanners write names such as IM0001 and 1.2.840.7
        bare = (path for path in found - links - wanted if not path.suffix or path.suffix[1:].isdigit())
        wanted |= {path for path in bare if has_dicom_mark(path)}
    return sorted(wanted | links, key=lambda path: natural(path.relative_to(root).as_posix()))


def _matches(folder: Path, parts: tuple[str, ...], chain: tuple[Path, ...], follow_links: bool) -> Iterator[Path]:
    """What matches the parts of a glob below a folder.

    Args:
        chain: real paths of the folders entered so far, from the root to this one.
    """
    part, rest = parts[0], parts[1:]
    deep = part == "**"
    if deep and rest:
        yield from _matches(folder, rest, chain, follow_links)
    for path in folder.iterdir():
        if path.name.startswith(".") or not (deep or fnmatchcase(composed(path.name), composed(part))):
            continue
        if not path.is_dir():
            if not rest:
                yield path
        elif deep or rest:
            real = path.resolve() if path.is_symlink() else chain[-1] / path.name
            if real in chain or not (follow_links or real.is_relative_to(chain[0])):
                yield path
            else:
                yield from _matches(path, parts if deep else rest, (*chain, real), follow_links)


def safe(path: Path, root: Path, follow_links: bool = False, real: Path | None = None) -> Path:
    """The path, if it leads to a regular file inside the root.

    Args:
        real: the root resolved, for who asks of many files.

    Raises:
        CaseError: E_PATH, a link that is broken, circular, or leads out of the root; a FIFO, a device or a socket.
    """
    try:
        target = path.resolve(strict=True)
        kind = kind_of(target.stat().st_mode)
    except (OSError, RuntimeError) as error:
        raise CaseError("E_PATH", f"{path} is a link that leads nowhere: mend or remove it.") from error
    if not follow_links and not target.is_relative_to(real or root.resolve()):
        raise CaseError(
            "E_PATH", f"{path} leads out of {root}: copy the file, or allow links with dataset.files.follow_links=true."
        )
    if target.is_dir():
        raise CaseError("E_PATH", f"{path} is a link that leads in a circle: remove it.")
    if kind is not None:
        raise CaseError("E_PATH", f"{path} is {kind}, or leads to one, and no regular file: remove it.")
    return path


def by_name(
    paths: Iterable[Path], name: Callable[[Path], str], todo: str = "rename or remove one of them"
) -> dict[str, Path]:
    """Paths by the name that cases get from them, composed (NFC) however the file system spells it, in their order.

    Args:
        todo: about two of one name.

    Raises:
        DataError: two have one name; upper and lower case do not tell names apart, as not every file system does.
    """
    named: dict[str, Path] = {}
    seen: dict[str, Path] = {}
    for path in paths:
        key = composed(name(path))
        other = seen.setdefault(key.casefold(), path)
        if other is not path:
            raise DataError(f"{other} and {path} have one name, {key!r}: {todo}.")
        named[key] = path
    return named


def composed(text: str) -> str:
    """Text in which a letter and its accent are one sign (NFC); a Mac writes names of files with two (NFD)."""
    return unicodedata.normalize("NFC", text)


def has_dicom_mark(path: str | Path) -> bool:
    """Whether a regular file has the mark of DICOM behind its preamble."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116  (a Path for each file takes as long as all else)
            return False
        with open(path, "rb") as stream:  # noqa: PTH123
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def stem(path: Path) -> str:
    """File name without its ending, composed; `.nii.gz` and `.ome.tif` are one ending."""
    whole = next((each for each in _DOUBLE if path.name.lower().endswith(each)), path.suffix)
    return composed(path.name[: len(path.name) - len(whole)])
