"""Images and masks by a table: `dataset.files.table`."""

from __future__ import annotations

import csv
from pathlib import Path

from salip_exp._files import TooLarge, read_small
from salip_exp.data import _dicom as dicom
from salip_exp.data.paths import composed, stem
from salip_exp.data.readers._patterns import PARTS, Paired
from salip_exp.errors import DataError

MAX_ROWS = 500_000
_COLUMNS = ("image", "mask", *PARTS)


def from_table(path: Path, root: Path) -> Paired:
    """The pairs of a CSV file with a line of names above: `image`, and `mask`, `group`, `subject`, `id` where wanted.

    Paths are relative to the root; that of an image may be a folder with one DICOM series. A case is named by `id`, or
    else by its image's path without ending.

    Raises:
        DataError: the table cannot be read, has no column `image` or one of another name, names a file that is not
            there, or two cases alike.
    """
    images: dict[str, Path] = {}
    masks: dict[str, Path] = {}
    parts: dict[str, dict[str, str]] = {}
    lines: dict[str, int] = {}
    if not _is_there(path) and _is_there(root / path):
        raise DataError(f"dataset.files.table={path} is not there, but {root / path} is: give that.")
    for line, row in enumerate(_rows(path), 2):
        where = f"dataset.files.table={path}, line {line}"
        if not row["image"]:
            raise DataError(f"{where}: it names no image.")
        for each in filter(None, (row["image"], row.get("mask"))):
            if not _is_there(root / each):
                raise DataError(f"{where}: {root / each} is not there.")
        image = Path(row["image"])
        name = composed(row.get("id") or (image.parent / stem(image)).as_posix())
        if (other := lines.setdefault(name.casefold(), line)) != line:
            raise DataError(f"{where}: its case has the name of that of line {other}, {name!r}: add a column id.")
        images[name], parts[name] = _one_image(root / image, where), row
        if row.get("mask"):
            masks[name] = root / row["mask"]
    return Paired(images, masks, parts)


def _one_image(path: Path, where: str) -> Path:
    """An image, or the first file of the one DICOM series that a folder holds."""
    if not path.is_dir():
        return path
    found = list(dicom.leaders(sorted(each for each in path.iterdir() if each.is_file() and dicom.is_dicom(each))))
    if len(found) == 1:
        return found[0]
    there = f"the DICOM series {dicom.listed(found)}: name a file of one" if found else "no DICOM series: name an image"
    raise DataError(f"{where}: {path} holds {there}.")


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long
        return False


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        lines = read_small(path).decode("utf-8-sig").splitlines()
        if len(lines) > MAX_ROWS:
            raise TooLarge(f"it has {len(lines):,} rows, and {MAX_ROWS:,} is the limit")
        rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in csv.DictReader(lines)]
    except (OSError, ValueError, csv.Error, AttributeError) as error:
        raise DataError(f"dataset.files.table={path} cannot be read ({error}): give a CSV file.") from error
    columns = list(rows[0]) if rows else []
    if "image" not in columns or set(columns) - set(_COLUMNS):
        raise DataError(
            f"dataset.files.table={path} has the columns {', '.join(columns) or 'of no row'}: it wants image, and "
            f"knows {', '.join(_COLUMNS[1:])}."
        )
    return rows
