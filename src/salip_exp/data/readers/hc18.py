"""HC18: fetal-head ultrasound with annotated ellipse outlines, pixel sizes and head circumferences."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from salip_exp._files import TooLarge, read_small
from salip_exp.config import DatasetConfig
from salip_exp.data._regions import filled
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.datasets import Listing, Reader, gather
from salip_exp.data.images import read_mask, read_picture
from salip_exp.data.loading import make_case
from salip_exp.data.paths import by_name, files_below, require_folder, stem
from salip_exp.errors import DataError

_LAYOUT = (
    "HC18 wants training_set/001_HC.png, training_set/001_HC_Annotation.png and "
    "training_set_pixel_size_and_HC.csv below dataset.root."
)
TABLE = "training_set_pixel_size_and_HC.csv"
MAX_ROWS = 200_000
"""Of the table; it has 1,334 for all of HC18."""
_ANNOTATION = "_Annotation"
_SENSIBLE = ((0.001, 10.0), (1.0, 2000.0))
"""Millimetres that a pixel and a head's circumference can have."""


@dataclass(frozen=True)
class _Measure:
    """What the table says of an image: pixel size and head circumference, both in millimetres."""

    pixel_mm: float
    circumference_mm: float | None


def _read_hc18(root: Path, config: DatasetConfig) -> Listing:
    """Images below `training_set/` (or the root itself), with the outlines of their names."""
    require_folder(root, _LAYOUT)
    folder = root / "training_set" if (root / "training_set").is_dir() else root
    measures = _read_measures(folder, root)
    files = files_below(folder, "*", (".png",), config.files.follow_links)
    masks = by_name((path for path in files if _is_mask(path)), lambda path: path.stem.removesuffix(_ANNOTATION))
    images = by_name((path for path in files if not _is_mask(path)), stem)

    def refs(name: str, image: Path, mask: Path | None) -> list[CaseRef]:
        load = partial(_load_head, image, mask, measures.get(image.name), config)
        return [CaseRef(name, config.group, _fetus_of(name), load)]

    return gather(images, masks, root, config, refs)


def _fetus_of(name: str) -> str:
    """The fetus of an image: the digits a name starts with; `010_HC` and `010_2HC` are one fetus."""
    digits = re.match(r"\d+", name)
    return digits[0] if digits else name


def _is_mask(path: Path) -> bool:
    return path.stem.endswith(_ANNOTATION)


def _load_head(path: Path, mask: Path | None, measure: _Measure | None, config: DatasetConfig) -> Case:
    """One image with its filled head."""
    image, notes = read_picture(path)
    target = None
    if mask is not None:
        outline, said = read_mask(mask)
        target, how = filled(outline, config.fill)
        notes += (*said, *how)
    spacing, facts = None, {}
    if measure is None:
        notes += ("pixel size unknown",)
    else:
        spacing = (measure.pixel_mm, measure.pixel_mm)
        if measure.circumference_mm is not None:
            facts["head_circumference_mm"] = measure.circumference_mm
    load = partial(_load_head, path, mask, measure, config)
    ref = CaseRef(path.stem, config.group, _fetus_of(path.stem), load)
    return make_case(ref, config, path, image, target, spacing, facts, notes, mask)


def _read_measures(folder: Path, root: Path) -> dict[str, _Measure]:
    """The table beside or inside the image folder, by file name; empty where there is none.

    Raises:
        DataError: the table is there and cannot be understood.
    """
    found = next((p for p in (root / TABLE, folder / TABLE, folder.parent / TABLE) if p.is_file()), None)
    if found is None:
        return {}
    try:
        lines = read_small(found).decode("utf-8-sig").splitlines()
        if len(lines) > MAX_ROWS:
            raise TooLarge(f"it has {len(lines):,} rows, and {MAX_ROWS:,} is the limit")
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if row]
        return {row[0]: _measure(row) for row in rows[1:]}
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"{found} cannot be understood ({error}): its columns are filename, pixel size(mm), "
            "head circumference (mm)."
        ) from error


def _measure(row: list[str]) -> _Measure:
    numbers = [float(cell) for cell in row[1:3] if cell]
    if not numbers or not all(low <= number <= high for number, (low, high) in zip(numbers, _SENSIBLE, strict=False)):
        raise ValueError(f"{row[0]} has {', '.join(row[1:3])}")
    return _Measure(numbers[0], numbers[1] if len(numbers) > 1 else None)


READER = Reader(_read_hc18, _LAYOUT)
