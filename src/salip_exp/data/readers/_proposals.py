"""What would pair images and masks where the settings pair none."""

from __future__ import annotations

import os
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import product
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from salip_exp._wording import many
from salip_exp.data.paths import PICTURES, VOLUMES, stem
from salip_exp.data.readers._layouts import TREES
from salip_exp.data.readers._patterns import Pattern, pair, relative
from salip_exp.errors import DataError

_MASKS = re.compile("mask|seg|label|annot|truth|manual|contour|lesion|derivatives|(^|[^a-z])(gt|roi)([^a-z]|$)")
"""In paths of files that are masks, more likely than not."""
_LOOKED_AT, _COMPARED, _TRIED = 2000, 50, 8
"""Files that a proposal is tried on, masks that an image is compared with, and common parts of their names."""


class Proposal(NamedTuple):
    """Settings, as they are typed, and how many images they give a mask, or take without one."""

    typed: str
    pairs: int
    does: str = "pairs"

    @property
    def said(self) -> str:
        """In words."""
        return f"{self.typed} {self.does} {self.pairs} of them"


def likely_masks(root: Path, files: Sequence[Path]) -> list[Path]:
    """The files that are masks by their names."""
    return [path for path in files if _MASKS.search(relative(path, root).lower())]


def propose(root: Path, images: Sequence[Path], masks: Sequence[Path]) -> Proposal | None:
    """The settings that give the most images a mask: a layout, or else two patterns; None where nothing does."""
    files = [*images, *masks]
    layouts = [
        Proposal(_layout(name, channel, label), _pairs(root, tree.images.replace("{channel}", channel), pattern, files))
        for name, tree in TREES.items()
        if tree.images != tree.masks
        for channel in ((tree.channel, *tree.others) if "{channel}" in tree.images else ("",))
        for label in (_labels(root, tree.masks, masks) if "{label}" in tree.masks else ("",))
        for pattern in (tree.masks.replace("{label}", label),)
    ]
    best = max(layouts, key=lambda each: each.pairs)
    found = [
        Proposal(_typed(*patterns), _pairs(root, *patterns, files[:_LOOKED_AT]))
        for patterns in _guesses(root, images, masks)
    ]
    guess = max(found, key=lambda each: each.pairs, default=None)
    if best.pairs and (guess is None or best.pairs >= guess.pairs):
        return best
    return guess if guess and guess.pairs else None


def propose_alone(root: Path, images: Sequence[Path]) -> Proposal:
    """The settings that read images without masks, from the one folder that holds them all."""
    above = {PurePosixPath(relative(path, root)).parent for path in images}
    shared = PurePosixPath(os.path.commonpath(above))
    pattern = (shared / ("*" if above == {shared} else "**/*")).as_posix()
    return Proposal(f"dataset.files.images={shlex.quote(pattern)} dataset.files.masks=null", len(images), "takes")


def _layout(name: str, channel: str, label: str) -> str:
    tree = next(tree for key, tree in TREES.items() if key == name)
    parts = [f"dataset.files.layout={name}"]
    parts += [f"dataset.files.channel={channel}"] if channel not in ("", tree.channel) else []
    return " ".join([*parts, *([f"dataset.files.label={label}"] if label else [])])


def _labels(root: Path, pattern: str, masks: Sequence[Path]) -> list[str]:
    """The first name that a mask has in the place of its label."""
    place = Pattern(pattern.replace("{label}", "*"))
    return [stem(path) for path in masks if place.read(relative(path, root))][:1]


def _pairs(root: Path, images: str, masks: str, files: Sequence[Path]) -> int:
    try:
        return pair(root, Pattern(images), Pattern(masks), files, files).both
    except DataError:  # two of one name
        return 0


def _typed(images: str, masks: str) -> str:
    return f"dataset.files.images={shlex.quote(images)} dataset.files.masks={shlex.quote(masks)}"


def _guesses(root: Path, images: Sequence[Path], masks: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """Pairs of patterns that pair the first image with one of the masks, the likeliest first."""
    if not images or not masks:
        return
    image = relative(images[0], root)
    shared = {
        (each, relative(mask, root)) for mask in masks[:_COMPARED] for each in _shared(image, relative(mask, root))
    }
    likely = sorted(shared, key=lambda each: (not re.search(r"\d", each[0]), -len(each[0]), each))
    for part, mask in likely[:_TRIED]:
        for folders, ending in product((False, True), repeat=2):
            yield _pattern(image, part, folders, ending), _pattern(mask, part, folders, ending)


def _shared(image: str, mask: str) -> Iterator[str]:
    """What names on the way to two files have in common."""
    for one, other in product(*(_names(each) for each in (image, mask))):
        match = SequenceMatcher(None, one, other, autojunk=False).find_longest_match()
        part = one[match.a : match.a + match.size].strip("_-. ")
        if part:
            yield part
        yield from (number for number in re.findall(r"\d+", one) if number in other)


def _names(path: str) -> tuple[str, ...]:
    return (*PurePosixPath(path).parts[:-1], stem(Path(path)))


def _pattern(path: str, part: str, folders: bool, ending: bool) -> str:
    """A path as a pattern: a part of it is `{id}`, folders with other numbers are any, and so may its ending be."""
    *above, name = _names(path)
    if part not in name and not path.lower().endswith((*PICTURES, *VOLUMES)):
        name = "*"  # one file of a series
    signs = [("*" if folders and part not in each and re.search(r"\d", each) else each) for each in above]
    whole = "/".join([*signs, name]).replace(part, "{id}")
    if name == "*":
        return whole
    return f"{whole}.*" if ending else whole + PurePosixPath(path).name[len(name) :]


def unpaired(root: Path, images: Mapping[str, Path], masks: Mapping[str, Path], raw: Sequence[str] = ()) -> str:
    """What to say where no mask has the name of an image: which setting pairs them, or that none does.

    Args:
        images, masks: by the names that they are matched by.
        raw: names of the masks before `mask_suffix` is taken off, where that is.
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
    if proposal := propose(root, list(images.values()), list(masks.values())):
        return f"{said}: {proposal.said}."
    return f"{said}: nothing that their names have in common pairs them. Give a table, dataset.files.table=FILE."


def _best(names: Mapping[str, Path], longer: Sequence[str]) -> tuple[str, int]:
    """The ending that makes names, as they are, of the most of some longer ones, and of how many."""
    counts: Counter[str] = Counter()
    for each in longer:
        counts.update(each[end:] for end in range(1, len(each) + 1) if each[:end] in names)
    return max(counts.items(), key=lambda found: (found[1], -len(found[0])), default=("", 0))
