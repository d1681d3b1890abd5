"""Cases of picture files: one each, read when asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from salip_exp.config import DatasetConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.finish import finish
from salip_exp.data.images import read_mask, read_picture


def picture_ref(name: str, image: Path, mask: Path | None, config: DatasetConfig) -> CaseRef:
    """Reference to the case of one picture; its name is its subject too."""
    return CaseRef(name, config.group, name, partial(load_picture, name, image, mask, config))


def load_picture(name: str, image: Path, mask: Path | None, config: DatasetConfig) -> Case:
    """One picture with its mask, if it has one."""
    pixels, notes = read_picture(image)
    target = None if mask is None else read_mask(mask, config.files.label)
    return finish(picture_ref(name, image, mask, config), config, image, pixels, target, notes=notes)
