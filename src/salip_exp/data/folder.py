"""The user's own images: any folder, any organ, with or without masks."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from salip_exp.config import DatasetConfig
from salip_exp.data.case import CaseRef
from salip_exp.data.images import SUFFIXES as PICTURES
from salip_exp.data.paths import files_below, require_folder, safe, stem
from salip_exp.data.selection import Found
from salip_exp.data.slices import slice_refs
from salip_exp.data.volumes import SUFFIXES as VOLUMES
from salip_exp.data.xray import load_picture
from salip_exp.errors import CaseError, DataError

LAYOUT = "dataset=folder wants images/ and, where there are masks, masks/ below dataset.root, or its own globs."


def read_folder(root: Path, config: DatasetConfig) -> Found:
    """Pictures and volumes that match the image glob, with the masks of their names.

    A mask belongs to the image of the same name, less `mask_suffix`, in the same sub-folder below each glob's fixed
    part. Ids are paths without endings, so that equal names in two sub-folders stay apart.
    """
    require_folder(root, LAYOUT)
    files = config.files
    masks = {}
    if files.masks is not None:
        found = files_below(root, files.masks, (*PICTURES, *VOLUMES))
        masks = {_name(path, root, files.masks).removesuffix(files.mask_suffix): path for path in found}
    mask_files = set(masks.values())
    refs, unmasked, excluded = [], [], []
    for path in files_below(root, files.images, (*PICTURES, *VOLUMES)):
        if path in mask_files and files.images != files.masks:
            continue
        name = _name(path, root, files.images)
        mask = masks.get(name)
        try:
            for each in (path, mask):
                if each is not None:
                    safe(each, root, files.follow_links)
        except CaseError as error:
            excluded.append((name, str(error)))
            continue
        (refs if mask else unmasked).extend(_refs(name, path, mask, config))
    return Found(refs, unmasked, excluded)


def _refs(name: str, path: Path, mask: Path | None, config: DatasetConfig) -> list[CaseRef]:
    if path.name.lower().endswith(VOLUMES):
        if mask is not None and not mask.name.lower().endswith(VOLUMES):
            raise DataError(f"{mask} is a picture, but its image {path} is a volume: give a NIfTI mask.")
        return slice_refs(name, config.group, path, mask, config)
    return [CaseRef(name, config.group, name, partial(load_picture, name, path, mask, config))]


def _name(path: Path, root: Path, pattern: str) -> str:
    """Path below the fixed part of a glob, without ending: `images/**/*` and `images/a/1.png` give `a/1`."""
    fixed = Path()
    for part in Path(pattern).parts[:-1]:
        if any(sign in part for sign in "*?["):
            break
        fixed /= part
    return (path.relative_to(root / fixed).parent / stem(path)).as_posix()
