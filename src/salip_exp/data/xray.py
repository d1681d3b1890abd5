"""Chest x-rays with lung masks, in the layout of the Kaggle set `Chest Xray Masks and Labels`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from salip_exp.config import DatasetConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.finish import finish
from salip_exp.data.images import SUFFIXES, read_mask, read_picture
from salip_exp.data.paths import files_below, require_folder, safe
from salip_exp.data.selection import Found
from salip_exp.errors import CaseError, DataError

LAYOUT = "X-ray wants 'Lung Segmentation/CXR_png/*.png' and 'Lung Segmentation/masks/*.png' below dataset.root."


def read_xray(root: Path, config: DatasetConfig) -> Found:
    """Images of CXR_png with the masks of their names: `<name>_mask.png` (Shenzhen) or `<name>.png` (Montgomery)."""
    require_folder(root, LAYOUT)
    home = next((f for f in (root / "Lung Segmentation", root) if (f / "CXR_png").is_dir()), None)
    if home is None:
        raise DataError(f"{root} has no CXR_png folder: {LAYOUT}")
    masks = {path.stem.removesuffix("_mask"): path for path in files_below(home / "masks", "*", SUFFIXES)}
    refs, unmasked, excluded = [], [], []
    for path in files_below(home / "CXR_png", "*", SUFFIXES):
        mask = masks.get(path.stem)
        try:
            for each in (path, mask):
                if each is not None:
                    safe(each, root, config.files.follow_links)
        except CaseError as error:
            excluded.append((path.stem, str(error)))
            continue
        load = partial(load_picture, path.stem, path, mask, config)
        (refs if mask else unmasked).append(CaseRef(path.stem, config.group, path.stem, load))
    return Found(refs, unmasked, excluded)


def load_picture(case_id: str, path: Path, mask: Path | None, config: DatasetConfig) -> Case:
    """One picture with its mask, if it has one."""
    image, notes = read_picture(path)
    target = None if mask is None else read_mask(mask, config.files.label)
    ref = CaseRef(case_id, config.group, case_id, partial(load_picture, case_id, path, mask, config))
    return finish(ref, config, path, image, target, notes=notes)
