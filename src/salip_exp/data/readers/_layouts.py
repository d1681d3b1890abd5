"""The trees that data sets come in, as patterns: `dataset.files.layout`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from salip_exp import config as keys
from salip_exp._files import from_json, read_small
from salip_exp._wording import some
from salip_exp.data.paths import files_below, stem
from salip_exp.errors import ConfigError, DataError


@dataclass(frozen=True)
class _Tree:
    """Where images and masks lie below the root.

    Attributes:
        images, masks: patterns; `{channel}` and `{label}` stand for `dataset.files.channel` and `.label`.
        channel: the default of `dataset.files.channel`.
        others: channels that it may have in place of the default.
    """

    images: str
    masks: str
    channel: str = ""
    others: tuple[str, ...] = ()


TREES: Mapping[keys.Layout, _Tree] = {
    keys.Layout.nnunet: _Tree("imagesTr/{id}_{channel}.*", "labelsTr/{id}.*", "0000"),
    keys.Layout.decathlon: _Tree("imagesTr/{id}.nii*", "labelsTr/{id}.nii*"),
    keys.Layout.bids: _Tree(
        "sub-{subject}/**/{id}_{channel}.nii*", "derivatives/**/{id}_*mask.nii*", "T1w", ("T2w", "FLAIR", "bold")
    ),
    keys.Layout.brats: _Tree(
        "**/{id}/{id}[_-]{channel}.nii*", "**/{id}/{id}[_-]seg.nii*", "flair", ("t2f", "t1c", "t1ce", "t1n", "t1")
    ),
    keys.Layout.totalsegmentator: _Tree("{id}/{channel}.nii*", "{id}/segmentations/{label}.nii*", "ct", ("mri",)),
    keys.Layout.medsam_npz: _Tree("**/{id}.npz", "**/{id}.npz"),
}
"""By layout. COCO's masks stand in a file of their own kind (`_coco`)."""


def placed(root: Path, files: keys.Files) -> keys.Files:
    """The files section with the patterns of its layout in place, and its label as a number.

    Raises:
        ConfigError: a label or a channel is named that is none, or a layout needs one.
        DataError: `dataset.json` cannot be understood.
    """
    if files.layout is keys.Layout.coco:
        return files
    if files.layout is None:
        return files if files.label is None else replace(files, label=_number(root, files.label))
    tree = TREES[files.layout]
    channel = _channel(root, files, tree)
    images, masks = (each.replace("{channel}", channel) for each in (tree.images, tree.masks))
    if files.masks is None:
        return replace(files, images=images)
    if "{label}" not in masks:
        return replace(files, images=images, masks=masks, label=_number(root, files.label))
    return replace(files, images=images, masks=masks.replace("{label}", _named(root, masks, files)), label=None)


def _channel(root: Path, files: keys.Files, tree: _Tree) -> str:
    wanted = tree.channel if files.channel is None else files.channel
    if files.layout is not keys.Layout.nnunet or (len(wanted) == 4 and wanted.isdecimal()):
        return wanted
    names = _told(root, "channel_names", "modality")
    told = [each for each in names.items() if each[0].isdecimal()]
    number = wanted if wanted.isdecimal() else next((key for key, name in told if name == wanted), None)
    if number is None:
        there = f"dataset.json names {some(list(names.values()))}" if names else "dataset.json names none"
        raise ConfigError(f"dataset.files.channel={wanted} is no channel of {root}: {there}; or give its number.")
    return f"{int(number):04d}"


def _named(root: Path, masks: str, files: keys.Files) -> str:
    """The label that is part of the names of masks."""
    if files.label is not None:
        return str(files.label)
    glob = masks.replace("{id}", "*").replace("{label}", "*")
    there = sorted({stem(path) for path in files_below(root, glob, (".nii", ".nii.gz"), files.follow_links)})
    raise ConfigError(
        f"dataset.files.layout={files.layout} has a mask for each organ: choose one with dataset.files.label=NAME"
        + (f" (there are {some(there)})." if there else ".")
    )


def label_number(config: keys.DatasetConfig) -> int:
    """The number that voxels of the organ get in a file of ours: that of the label that was asked for, else 1."""
    files = config.files
    found = files.label if config.root is None else placed(Path(config.root).expanduser(), files).label
    return found if isinstance(found, int) and found else 1


def _number(root: Path, label: int | str | None) -> int | None:
    """The number of a label, by the names in `dataset.json`."""
    if label is None or isinstance(label, int):
        return label
    numbers = {name: str(number) for number, name in label_names(root).items()}
    if label in numbers:
        return int(numbers[label])
    there = f"it names {some(list(numbers))}" if numbers else "there is none that names labels"
    raise ConfigError(f"dataset.files.label={label} is a name to be found in {root / 'dataset.json'}, and {there}.")


def label_names(root: Path) -> dict[int, str]:
    """The names of labels by number, as `dataset.json` has them; none where it is not there, or names none.

    Raises:
        DataError: `dataset.json` cannot be understood.
    """
    pairs = _told(root, "labels").items()  # {"liver": 1} of nnU-Net 2, {"1": "liver"} of the Decathlon
    return {int(number): name for pair in pairs for number, name in (pair, pair[::-1]) if number.isdecimal()}


def _told(root: Path, *names: str) -> dict[str, str]:
    """What `dataset.json` says under the first of some keys that it has, as texts; empty where there is none."""
    path = root / "dataset.json"
    if not path.is_file():
        return {}
    try:
        content: Any = from_json(read_small(path))
        found: Any = next((content[key] for key in names if key in content), {})
        return {str(key): str(value) for key, value in found.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} cannot be understood ({error}): mend or remove it.") from error
