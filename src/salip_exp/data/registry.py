"""Data sets by layout: read natively, phantoms made first, then chosen from."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from salip_exp.config import DatasetConfig
from salip_exp.data.case import Dataset
from salip_exp.data.phantoms.store import phantom_root
from salip_exp.data.selection import Found, choose
from salip_exp.errors import DataError
from salip_exp.plugins import Catalogue


@dataclass(frozen=True)
class Reader:
    """What finds the cases of a layout; an installed package gives one under the entry point `salip_exp.datasets`.

    Attributes:
        read: finds what is below a root; raises DataError where that cannot be used.
        layout: one sentence on what must lie below the root.
        paired: an image may hold a pair of organs, of which `dataset.side` takes one.
    """

    read: Callable[[Path, DatasetConfig], Found]
    layout: str
    paired: bool = False


READERS = Catalogue(
    "datasets",
    Reader,
    {name: f"salip_exp.data.readers.{name}:READER" for name in ("cc359", "hc18", "xray", "folder")},
)


def open_dataset(config: DatasetConfig, seed: int) -> Dataset:
    """The configured data set; no image is decoded before its case is loaded.

    Raises:
        DataError: no root, no images, or a choice that cannot be met.
    """
    reader = READERS[config.layout]
    if config.root is None and config.phantom is not None:
        root = phantom_root(config.layout, config.phantom)
    elif config.root is None:
        raise DataError(
            f"dataset={config.name} needs dataset.root=DIR, or the environment variable SALIP_DATA with a folder "
            f"{config.name}/ in it. {reader.layout}"
        )
    else:
        root = Path(os.path.expanduser(config.root))  # noqa: PTH111  (Path.expanduser raises for unknown users)
    found = reader.read(root, config)
    if not (found.refs or found.unmasked or found.excluded):
        raise DataError(f"{root} holds no images: {reader.layout}")
    dataset = choose(found, config, seed)
    if not dataset.refs:
        name, reason = dataset.excluded[0]
        hint = " (dataset.missing_masks=predict goes without scores)" if reason == "no mask" else ""
        raise DataError(f"none of the images below {root} can be used, {name}: {reason}{hint}. {reader.layout}")
    return dataset
