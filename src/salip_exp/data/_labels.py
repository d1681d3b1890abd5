"""What the numbers of a mask mean: background and target, labels, or the grey edge of a mask that was resized.

Pictures and volumes alike. Nothing is guessed: several labels, of which none is chosen, are an error that lists them.
"""

from __future__ import annotations

from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp._wording import some
from salip_exp.errors import CaseError

_HUGE = 1e30
"""Numbers beyond it are no measurements: they are treated as infinite."""
_ROUNDING = 1e-3
"""Numbers as near to whole ones are whole: slopes of headers and resampling leave such rests."""
_FEW, _SOME = 8, 32
"""No more levels than `_FEW`, one of which fills a patch, are labels; so are whole numbers up to `_SOME`, unless the
highest is that of a binary mask, one of `_FULL`."""
_FULL = (255, 65535)
_JPEG = 255
"""The level that masks have in JPEG, which adds others near it and near 0."""
_NEAR = 1 / 8
"""Share of the range: levels nearer to an extreme may be ringing or noise, others lie between."""


def finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where numbers are neither NaN, infinite, nor absurdly large."""
    return np.asarray(np.abs(values) < _HUGE)


def target(values: NDArray[Any], path: Path, label: int | None = None) -> tuple[NDArray[np.bool_], tuple[str, ...]]:
    """The target in the numbers of a mask (pixels or voxels), and notes on it.

    Zero and one other number are background and target. Of several numbers one is to be chosen, unless they are the
    grey edge of a mask that was resized or compressed, or probabilities: those are cut at half of their maximum.

    Args:
        label: the number that is the target.

    Raises:
        CaseError: E_NONFINITE, or E_LABELS for several labels of which none is chosen.
    """
    if not finite(values).all():
        raise CaseError("E_NONFINITE", f"{path} holds NaN or infinite values: mend or remove the mask.")
    values = _whole(values)
    if label is not None:
        found = np.asarray(values == label)
        held = () if found.any() else tuple(f"{value:g}" for value in np.unique(values) if value)
        return found, (f"the mask holds no label {label}, but {some(held)}",) if held else ()
    marked = values[values != 0]
    if not marked.size or (marked[0] > 0 and (marked == marked[0]).all()):
        return np.asarray(values > 0), ()
    present = np.unique(values)
    if len(present) < 3 or not _is_grey(values, present):
        raise CaseError("E_LABELS", f"{path} holds {_listed(present)}")
    return np.asarray(values > max(present[-1] / 2, 0)), ()


def _whole(values: NDArray[Any]) -> NDArray[Any]:
    """The numbers, rounded where every one is within a rounding of a whole one and not all would vanish."""
    if values.dtype.kind != "f":
        return values
    rounded = np.rint(values)
    return (
        rounded if rounded.any() and (np.abs(values - rounded) <= _ROUNDING + 1e-6 * np.abs(values)).all() else values
    )


def _listed(present: NDArray[Any]) -> str:
    """The labels in words, and what to do about them."""
    labels = [f"{value:.10g}" for value in present if value]
    if (present == np.rint(present)).all():
        ranges = _ranges(present[present != 0])
        listed = ", ".join(ranges) if len(ranges) <= _SOME else some(ranges)
        named = ", ".join(labels) if len(labels) <= _FEW else f"{listed} ({len(labels)} in all)"
        return f"the label{'s' * (len(labels) > 1)} {named}: choose one with dataset.files.label=N."
    return (
        f"{len(labels)} levels that are neither whole nor a soft edge ({some(labels)}): save labels as whole numbers."
    )


def _ranges(labels: NDArray[Any]) -> list[str]:
    """Whole numbers, three or more that follow each other as `first to last`."""
    parts = np.split(labels, np.flatnonzero(np.diff(labels) != 1) + 1)
    words = [
        [f"{each[0]:.10g} to {each[-1]:.10g}"] if len(each) > 2 else [f"{one:.10g}" for one in each] for each in parts
    ]
    return list(chain.from_iterable(words))


def _is_grey(values: NDArray[Any], present: NDArray[Any]) -> bool:
    """Whether more than two levels are what resizing or compression makes of two, or probabilities.

    There are two extremes that fill patches, and what lies between them is at the border of the two: it changes from
    pixel to pixel, where labels fill patches of their own.

    Whole numbers in volumes may fill patches of planes alone; others do where slices were interpolated.

    Args:
        present: the sorted levels, three or more.
    """
    present, values = present.astype(np.float64), np.squeeze(values).astype(np.float64)
    whole, few = bool((present == np.rint(present)).all()), len(present) <= _FEW
    if present[0] < -present[-1] / 2 or (whole and len(present) <= _SOME and _top(values, present[-1]) not in _FULL):
        return False
    top = _top(values, present[-1])
    if not whole:
        values = np.where(np.abs(values - top) < _ROUNDING * top, top, values)
    extreme = (values == 0) | (values == top)
    between = (values > top * _NEAR) & (values < top * (1 - _NEAR))
    planes = list(combinations(range(values.ndim), 2)) if whole and values.ndim == 3 else [tuple(range(values.ndim))]
    blocks, patches = (
        np.logical_or.reduce(each) for each in zip(*(_flat(values, axes) for axes in planes), strict=True)
    )
    if (patches & between).any() or (few and (patches & ~extreme).any()):
        return False
    if few and not between.any() and top != _JPEG:
        return False
    if _share(blocks, between) > 0.5 or _share(blocks, ~extreme & ~between) > 0.75:
        return False
    if _share(patches, ~extreme & ~between) > 0.15:
        return False
    return (not whole and bool(present[0] >= 0 and present[-1] <= 1)) or _is_border(values, between, patches & extreme)


def _is_border(values: NDArray[Any], between: NDArray[np.bool_], interior: NDArray[np.bool_]) -> bool:
    """Whether what lies between two extremes is the border of patches, and not strewn about as single labels."""
    if interior.sum() < 0.02 * (~between).sum():
        return False
    alone = between & ((values == ndimage.maximum_filter(values, 3)) | (values == ndimage.minimum_filter(values, 3)))
    return bool(_share(alone, between) <= 0.6 or between.sum() <= (values > 0)[~between].sum())


def _top(values: NDArray[Any], highest: float) -> Any:
    """The most frequent level above half of the highest one: what is beyond it overshot when the mask was resized."""
    levels, counts = np.unique(values[values > highest / 2], return_counts=True)
    return levels[counts.argmax()]


def _flat(values: NDArray[Any], axes: tuple[int, ...]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Pixels in a constant block of two along each of some axes, and those in the middle of one of three."""
    low = high = values
    for axis in axes:
        low, high = (
            pick(np.delete(each, -1, axis), np.delete(each, 0, axis))
            for pick, each in ((np.minimum, low), (np.maximum, high))
        )
    some_of, all_of = low == high, low == high
    for axis in axes:
        around = [(1, 1) if each == axis else (0, 0) for each in range(values.ndim)]
        one, every = np.pad(some_of, around), np.pad(all_of, around)
        some_of = np.delete(one, -1, axis) | np.delete(one, 0, axis)
        all_of = np.delete(every, -1, axis) & np.delete(every, 0, axis)
    return some_of, all_of


def _share(part: NDArray[np.bool_], whole: NDArray[np.bool_]) -> float:
    """Share of one set of pixels that another holds; 0 of nothing."""
    return float((part & whole).sum() / max(1, whole.sum()))
