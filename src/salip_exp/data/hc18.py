"""HC18: fetal-head ultrasound with annotated ellipse outlines, pixel sizes and head circumferences."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from salip_exp.config import DatasetConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.finish import finish
from salip_exp.data.images import read_mask, read_picture
from salip_exp.data.outline import filled
from salip_exp.data.paths import files_below, require_folder, safe
from salip_exp.data.selection import Found
from salip_exp.errors import CaseError, DataError

LAYOUT = (
    "HC18 wants training_set/001_HC.png, training_set/001_HC_Annotation.png and "
    "training_set_pixel_size_and_HC.csv below dataset.root."
)
TABLE = "training_set_pixel_size_and_HC.csv"


@dataclass(frozen=True)
class Measure:
    """What the table says of an image: pixel size and head circumference, both in millimetres."""

    pixel_mm: float
    circumference_mm: float | None


def read_hc18(root: Path, config: DatasetConfig) -> Found:
    """Images below `training_set/` (or the root itself); the first three digits of a name tell the fetus."""
    require_folder(root, LAYOUT)
    folder = root / "training_set" if (root / "training_set").is_dir() else root
    measures = read_measures(folder, root)
    refs, unmasked, excluded = [], [], []
    for path in files_below(folder, "*.png", (".png",)):
        if path.stem.endswith("_Annotation"):
            continue
        annotation = path.with_name(f"{path.stem}_Annotation.png")
        mask = annotation if annotation.is_file() or annotation.is_symlink() else None
        try:
            for each in (path, mask):
                if each is not None:
                    safe(each, root, config.files.follow_links)
        except CaseError as error:
            excluded.append((path.stem, str(error)))
            continue
        load = partial(load_head, path, mask, measures.get(path.name), config)
        (refs if mask else unmasked).append(CaseRef(path.stem, config.group, path.stem[:3], load))
    return Found(refs, unmasked, excluded)


def load_head(path: Path, mask: Path | None, measure: Measure | None, config: DatasetConfig) -> Case:
    """One image with its filled head."""
    image, notes = read_picture(path)
    target = None
    if mask is not None:
        target, how = filled(read_mask(mask), config.fill)
        notes += how
    spacing, facts = None, {}
    if measure is None:
        notes += ("pixel size unknown",)
    else:
        spacing = (measure.pixel_mm, measure.pixel_mm)
        if measure.circumference_mm is not None:
            facts["head_circumference_mm"] = measure.circumference_mm
    ref = CaseRef(path.stem, config.group, path.stem[:3], partial(load_head, path, mask, measure, config))
    return finish(ref, config, path, image, target, spacing, facts, notes)


def read_measures(folder: Path, root: Path) -> dict[str, Measure]:
    """The table beside or inside the image folder, by file name; empty where there is none.

    Raises:
        DataError: the table is there and cannot be understood.
    """
    found = next((p for p in (root / TABLE, folder / TABLE, folder.parent / TABLE) if p.is_file()), None)
    if found is None:
        return {}
    try:
        with found.open(newline="", encoding="utf-8-sig") as stream:
            rows = [[cell.strip() for cell in row] for row in csv.reader(stream) if row]
        return {row[0]: _measure(row) for row in rows[1:]}
    except (OSError, ValueError, IndexError, csv.Error) as error:
        raise DataError(
            f"{found} cannot be understood ({error}): its columns are filename, pixel size(mm), "
            "head circumference (mm)."
        ) from error


def _measure(row: list[str]) -> Measure:
    pixel = float(row[1])
    if not np.isfinite(pixel) or pixel <= 0:
        raise ValueError(f"pixel size {row[1]!r} of {row[0]}")
    return Measure(pixel, float(row[2]) if len(row) > 2 and row[2] else None)
