"""The user's own images: any folder, any organ, with or without masks."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

from salip_exp._wording import many
from salip_exp.config import DatasetConfig
from salip_exp.data.case import CaseRef, failing
from salip_exp.data.datasets import Listing, Reader, gather
from salip_exp.data.loading import picture_ref, slice_refs
from salip_exp.data.paths import PICTURES, VOLUMES, by_name, composed, files_below, require_folder, stem
from salip_exp.data.volumes import is_volume
from salip_exp.errors import CaseError, ConfigError, DataError

LAYOUT = (
    "dataset=folder wants images/ and, where there are masks, masks/ below dataset.root, "
    "or globs of its own in dataset.files.images and dataset.files.masks."
)


def _read_folder(root: Path, config: DatasetConfig) -> Listing:
    """Pictures and volumes that match the image glob, with the masks of their names.

    A mask belongs to the image of the same name, less `mask_suffix`, in the same sub-folder below each glob's fixed
    part. Ids are paths without endings, so that equal names in two sub-folders stay apart. Where one glob stands for
    both, masks are what has the suffix.

    Raises:
        ConfigError: a glob leads out of the root.
        DataError: two files have one name, or there are masks and none has the name of an image.
    """
    require_folder(root, LAYOUT)
    files = config.files
    marks = [] if files.masks is None else _files(root, files.masks, "masks", config)
    if files.masks == files.images:
        marks = [path for path in marks if stem(path).endswith(composed(files.mask_suffix))]
    known = set(marks)
    pictures = [path for path in _files(root, files.images, "images", config) if path not in known]
    masks = by_name(marks, lambda path: _name(path, root, files.masks or "").removesuffix(composed(files.mask_suffix)))
    images = by_name(pictures, lambda path: _name(path, root, files.images))
    if images and masks and not masks.keys() & images.keys():
        raise DataError(_unpaired(root, images, masks, [_name(path, root, files.masks or "") for path in marks]))
    return gather(images, masks, root, config, partial(_refs, config=config))


def _files(root: Path, pattern: str, key: str, config: DatasetConfig) -> list[Path]:
    parts = PurePosixPath(pattern).parts
    if not parts or ".." in parts or "/" in parts:
        raise ConfigError(
            f"dataset.files.{key}={pattern!r} must be a glob below dataset.root, such as '{key}/**/*.png'."
        )
    return files_below(root, pattern, (*PICTURES, *VOLUMES), config.files.follow_links)


def _name(path: Path, root: Path, pattern: str) -> str:
    """Path below the fixed part of a glob, without ending: `images/**/*` and `images/a/1.png` give `a/1`."""
    folders = PurePosixPath(pattern).parts[:-1]
    fixed = next((place for place, part in enumerate(folders) if any(sign in part for sign in "*?[")), len(folders))
    return PurePosixPath(*path.relative_to(root).parts[fixed:-1], stem(path)).as_posix()


def _unpaired(root: Path, images: Mapping[str, Path], masks: Mapping[str, Path], raw: Sequence[str]) -> str:
    """What to say where no mask has the name of an image: which setting pairs them, or that none does.

    Args:
        images, masks: by the names that they are matched by.
        raw: names of the masks before `mask_suffix` is taken off.
    """
    image, mask = next(iter(images)), next(iter(masks))
    said = (
        f"{root}: no mask has the name of an image. The first of {many(len(masks), 'mask')} is {mask!r} "
        f"({masks[mask].relative_to(root)}), the first of {many(len(images), 'image')} {image!r} "
        f"({images[image].relative_to(root)})"
    )
    suffix, pairs = _best(images, raw)
    if pairs:
        return f"{said}: dataset.files.mask_suffix={shlex.quote(suffix)} pairs {pairs} of them."
    rest, pairs = _best(masks, list(images))
    why = (
        f"what images have at the end of their names, {rest!r}, cannot be taken off yet"
        if pairs
        else "a mask must have its image's name, less dataset.files.mask_suffix, in the same sub-folder"
    )
    return f"{said}: no setting pairs them, {why}. Copy, link or rename the masks to the names of their images."


def _best(names: Mapping[str, Path], longer: Sequence[str]) -> tuple[str, int]:
    """The ending that makes names, as they are, of the most of some longer ones, and of how many."""
    counts: Counter[str] = Counter()
    for each in longer:
        counts.update(each[end:] for end in range(1, len(each) + 1) if each[:end] in names)
    return max(counts.items(), key=lambda found: (found[1], -len(found[0])), default=("", 0))


def _refs(name: str, image: Path, mask: Path | None, config: DatasetConfig) -> list[CaseRef]:
    if mask is not None and is_volume(mask) != is_volume(image):
        error = CaseError("E_SHAPE", f"{image} and its mask {mask} must both be pictures or both be NIfTI.")
        return [CaseRef(name, config.group, name, failing(error))]
    if is_volume(image):
        return slice_refs(name, config.group, image, mask, config)
    return [picture_ref(name, image, mask, config)]


READER = Reader(_read_folder, LAYOUT, paired=True)
