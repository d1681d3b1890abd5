"""Chest x-rays with lung masks, in the layout of the Kaggle set `Chest Xray Masks and Labels`."""

from __future__ import annotations

from pathlib import Path

from salip_exp.config import DatasetConfig
from salip_exp.data.case import CaseRef
from salip_exp.data.datasets import Listing, Reader, gather
from salip_exp.data.loading import picture_ref
from salip_exp.data.paths import PICTURES, by_name, files_below, require_folder, stem
from salip_exp.errors import DataError

_LAYOUT = "X-ray wants 'Lung Segmentation/CXR_png/*.png' and 'Lung Segmentation/masks/*.png' below dataset.root."


def _read_xray(root: Path, config: DatasetConfig) -> Listing:
    """Images of CXR_png with the masks of their names: `<name>_mask.png` (Shenzhen) or `<name>.png` (Montgomery)."""
    require_folder(root, _LAYOUT)
    home = next((folder for folder in (root / "Lung Segmentation", root) if (folder / "CXR_png").is_dir()), None)
    if home is None:
        raise DataError(f"{root} has no CXR_png folder: {_LAYOUT}")
    links = config.files.follow_links
    images = by_name(files_below(home / "CXR_png", "*", PICTURES, links), stem)
    masks = by_name(files_below(home / "masks", "*", PICTURES, links), lambda path: path.stem.removesuffix("_mask"))

    def refs(name: str, image: Path, mask: Path | None) -> list[CaseRef]:
        return [picture_ref(name, image, mask, config)]

    return gather(images, masks, root, config, refs)


READER = Reader(_read_xray, _LAYOUT, paired=True)
