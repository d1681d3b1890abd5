"""Data sets by layout: read natively, phantoms made first, then chosen from."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from salip_exp.config import DatasetConfig, Layout
from salip_exp.data.case import Dataset
from salip_exp.data.phantoms.store import phantom_root
from salip_exp.data.readers import cc359, folder, hc18, xray
from salip_exp.data.selection import Found, choose
from salip_exp.errors import DataError

Reader = Callable[[Path, DatasetConfig], Found]

READERS: dict[Layout, tuple[Reader, str]] = {
    Layout.cc359: (cc359.read_cc359, cc359.LAYOUT),
    Layout.hc18: (hc18.read_hc18, hc18.LAYOUT),
    Layout.xray: (xray.read_xray, xray.LAYOUT),
    Layout.folder: (folder.read_folder, folder.LAYOUT),
}


def open_dataset(config: DatasetConfig, seed: int) -> Dataset:
    """The configured data set; no image is decoded before its case is loaded.

    Raises:
        DataError: no root, no images, or a choice that cannot be met.
    """
    read, layout = READERS[config.layout]
    if config.root is None and config.phantom is not None:
        root = phantom_root(config.layout, config.phantom)
    elif config.root is None:
        raise DataError(
            f"dataset={config.name} needs dataset.root=DIR, or the environment variable SALIP_DATA with a folder "
            f"{config.name}/ in it. {layout}"
        )
    else:
        root = Path(os.path.expanduser(config.root))  # noqa: PTH111  (Path.expanduser raises for unknown users)
    found = read(root, config)
    if not (found.refs or found.unmasked or found.excluded):
        raise DataError(f"{root} holds no images: {layout}")
    dataset = choose(found, config, seed)
    if not dataset.refs:
        name, reason = dataset.excluded[0]
        hint = " (dataset.missing_masks=predict goes without scores)" if reason == "no mask" else ""
        raise DataError(f"none of the images below {root} can be used, {name}: {reason}{hint}. {layout}")
    return dataset
