"""Masks in a COCO file: polygons and run lengths of annotations, by image."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from salip_exp._files import TooLarge, from_json, open_file, read_file
from salip_exp.config import DatasetConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.data.images import MAX_PIXELS
from salip_exp.data.loading import make_case, read_pixels
from salip_exp.data.paths import PICTURES, by_name, files_below, stem
from salip_exp.data.readers._patterns import Paired, relative
from salip_exp.errors import CaseError, DataError

_FAR = 10
"""Times the side of an image that polygons may lead beyond it: the decoder takes memory for their length."""
_MOST = 1 << 28
"""Bytes of the largest file."""


@dataclass(frozen=True)
class _File:
    """What a COCO file says.

    Attributes:
        images: height and width by the path that images have in it.
        annotations: (category, segmentation) by that path.
        categories: names by number.
    """

    images: Mapping[str, tuple[int, int]]
    annotations: Mapping[str, list[tuple[int, Any]]]
    categories: Mapping[int, str]


def from_coco(root: Path, config: DatasetConfig) -> Paired:
    """The images that the one COCO file below the root names, each with that file in the place of its mask.

    Raises:
        DataError: there is none, or several; it cannot be understood; an image that it names is not there.
    """
    found = [path for path in files_below(root, "**/*", (".json",), config.files.follow_links) if _is_coco(path)]
    if len(found) != 1:
        there = ", ".join(relative(each, root) for each in found) or "none"
        raise DataError(f"dataset.files.layout=coco wants one file with images and annotations below {root}: {there}.")
    names = _read(found[0], found[0].stat().st_mtime_ns).images
    pictures = files_below(root, "**/*", PICTURES, config.files.follow_links)
    by_path = {relative(path, root): path for path in pictures}
    by_end = by_name(pictures, lambda path: path.name) if len({path.name for path in pictures}) == len(pictures) else {}
    images: dict[str, Path] = {}
    for name in names:
        path = by_path.get(name) or by_path.get(f"images/{name}") or by_end.get(Path(name).name)
        if path is None:
            raise DataError(f"{found[0]} names {name}, which is not below {root}: copy it, or take it out of the file.")
        case = (Path(name).parent / stem(Path(name))).as_posix()
        if images.setdefault(case, path) is not path:
            raise DataError(
                f"{found[0]} names {images[case]} and {path}, whose cases have one name, {case!r}: rename one."
            )
    parts = {case: {"name": name} for case, name in zip(images, names, strict=True)}
    return Paired(images, dict.fromkeys(images, found[0]), parts)


def coco_ref(name: str, image: Path, file: Path, known_as: str, config: DatasetConfig) -> CaseRef:
    """Reference to the case of an image whose mask stands in a COCO file under a path of its own."""
    return CaseRef(name, config.group, name, partial(_load, name, image, file, known_as, config))


def _load(name: str, image: Path, file: Path, known_as: str, config: DatasetConfig) -> Case:
    pixels, spacing, notes = read_pixels(image, config)
    target = _target(_read(file, file.stat().st_mtime_ns), known_as, config.files.label, file)
    ref = coco_ref(name, image, file, known_as, config)
    return make_case(ref, config, image, pixels, target, spacing, notes=notes, mask_path=file)


def _target(file: _File, name: str, label: int | str | None, path: Path) -> NDArray[np.bool_]:
    """The union (H, W) of an image's annotations of one category.

    Raises:
        CaseError: E_LABELS for several categories of which none is chosen, or one that there is not; E_READ.
    """
    names = file.categories
    wanted = {number for number, each in names.items() if label in (None, number, each)}
    if not wanted or (
        label is None and len({number for found in file.annotations.values() for number, _ in found}) > 1
    ):
        there = ", ".join(f"{each} ({number})" for number, each in names.items())
        raise CaseError("E_LABELS", f"{path} has the categories {there}: choose one with dataset.files.label=NAME.")
    height, width = file.images[name]
    if height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise CaseError("E_SIZE", f"{path}: {name} is {width} x {height} pixels there: the limit is {MAX_PIXELS}.")
    whole = np.zeros((height, width), bool)
    for number, segmentation in file.annotations.get(name, ()):
        if number in wanted:
            whole |= _decoded(segmentation, height, width, path)
    return whole


def _decoded(segmentation: Any, height: int, width: int, path: Path) -> NDArray[np.bool_]:
    """Polygons, or run lengths packed or not, as a mask.

    Run lengths are gone through here: the decoder, which is of C, leaves what they do not reach as memory had it.

    Raises:
        CaseError: E_SHAPE for run lengths of another size, E_READ for what leads out of the image, or is none.
    """
    try:
        if isinstance(segmentation, dict):
            return _of_lengths(segmentation, height, width, path)
        if any(
            len(each) % 2 or not all(abs(place) <= _FAR * max(height, width) for place in each) for each in segmentation
        ):
            raise ValueError("a polygon leads far out of its image")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pycocotools is older than NumPy 2
            return np.asarray(
                coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))), bool
            )
    except CaseError:
        raise
    except Exception as error:  # the decoder raises almost anything
        raise CaseError("E_READ", f"{path} holds a segmentation that cannot be decoded ({error}): mend it.") from error


def _of_lengths(segmentation: dict[str, Any], height: int, width: int, path: Path) -> NDArray[np.bool_]:
    """Run lengths of background and target in turn, column by column."""
    size, counts = tuple(segmentation["size"]), segmentation["counts"]
    if size != (height, width):
        raise CaseError("E_SHAPE", f"{path} holds a segmentation of {size} pixels for {(height, width)}: mend it.")
    lengths = _unpacked(counts) if isinstance(counts, str) else [int(each) for each in counts]
    if sum(lengths) != height * width or min(lengths) < 0:
        raise ValueError(f"its runs are {sum(lengths)} of {height * width} pixels long")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape((height, width), order="F")


def _unpacked(text: str) -> list[int]:
    """Run lengths as COCO packs them: groups of five bits from the lowest, each length less the one before the last."""
    lengths: list[int] = []
    value = shift = 0
    for sign in text.encode("ascii"):
        bits = sign - 48
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (1 << shift) if bits & 16 else 0
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    return lengths


def _is_coco(path: Path) -> bool:
    try:
        with open_file(path, _MOST) as stream:
            start = stream.read(1 << 20)
    except (OSError, TooLarge):
        return False
    return b'"images"' in start or b'"annotations"' in start or b'"categories"' in start


@lru_cache(maxsize=1)
def _read(path: Path, modified: int) -> _File:
    try:
        content: Any = from_json(read_file(path, _MOST))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        sizes = {str(image["file_name"]): (int(image["height"]), int(image["width"])) for image in content["images"]}
        found: dict[str, list[tuple[int, Any]]] = defaultdict(list)
        for each in content["annotations"]:
            found[names[each["image_id"]]].append((int(each["category_id"]), each["segmentation"]))
        return _File(sizes, found, {int(each["id"]): str(each["name"]) for each in content["categories"]})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise DataError(f"{path} is no COCO file that can be understood ({type(error).__name__}: {error}).") from error
