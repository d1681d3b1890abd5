"""What the numbers of a mask mean: labels are refused until one is chosen, soft edges of two levels are cut at half."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from salip_exp.data._labels import target
from salip_exp.errors import CaseError

PATH = Path("mask")
seeds = st.integers(0, 1 << 30)
PILLOW = ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS")
OPENCV = ("INTER_NEAREST", "INTER_AREA", "INTER_LINEAR", "INTER_CUBIC", "INTER_LANCZOS4")


def refused(values: NDArray[Any], label: int | None = None) -> str:
    with pytest.raises(CaseError) as caught:
        target(values, PATH, label)
    assert caught.value.code == "E_LABELS"
    return str(caught.value)


def shape(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A mask of 0 and 1: ellipses, boxes, outlines, polygons."""
    height, width = (int(side) for side in rng.integers(40, 160, 2))
    mask = np.zeros((height, width), np.uint8)
    kind = rng.integers(4)
    for _ in range(rng.integers(1, 4)):
        centre = int(rng.integers(8, width - 8)), int(rng.integers(8, height - 8))
        axes = int(rng.integers(6, width // 3)), int(rng.integers(6, height // 3))
        if kind == 0:
            cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, 1, -1)
        elif kind == 1:
            cv2.rectangle(mask, centre, (centre[0] + axes[0], centre[1] + axes[1]), 1, -1)
        elif kind == 2:
            cv2.ellipse(mask, centre, axes, int(rng.integers(180)), 0, 360, 1, int(rng.integers(3, 8)))
        else:
            cv2.fillPoly(mask, [rng.integers(0, min(height, width), (5, 2)).astype(np.int32)], 1)
    return mask


def resized(mask: NDArray[np.uint8], scale: float, way: str, real: bool) -> NDArray[Any]:
    """A mask of 0 and 255, or of 0.0 and 1.0, resized by Pillow or OpenCV."""
    height, width = (max(8, round(side * scale)) for side in mask.shape)
    source: Any = mask.astype(np.float32) if real else mask * np.uint8(255)
    if way in OPENCV:
        return np.asarray(cv2.resize(source, (width, height), interpolation=getattr(cv2, way)))
    return np.asarray(Image.fromarray(source).resize((width, height), getattr(Image.Resampling, way)))


def label_map(rng: np.random.Generator, levels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Every level in an object of its own: discs, boxes, cells side by side, or single pixels."""
    height, width = (int(side) for side in rng.integers(60, 160, 2))
    kind, labels = rng.integers(4), np.zeros((height, width), np.int32)
    if kind == 0:
        points = rng.integers(0, [height, width], (2 * len(levels), 2))
        rows, columns = np.mgrid[:height, :width]
        nearest = np.argmin([(rows - y) ** 2 + (columns - x) ** 2 for y, x in points], axis=0)
        return np.concatenate([levels, np.zeros_like(levels)])[nearest]
    if kind == 1:
        return rng.choice(np.concatenate([[0], levels]), (height, width))
    for place, level in enumerate(levels):
        row, column = divmod(place, 16)
        if kind == 2:
            cv2.circle(labels, (4 + 9 * column, 4 + 9 * row), int(rng.integers(2, 5)), int(level), -1)
        else:
            labels[9 * row : 9 * row + rng.integers(2, 9), 9 * column : 9 * column + rng.integers(2, 9)] = level
    return labels.astype(np.int64)


LEVELS = {
    "1 and up": lambda rng, n: np.arange(1, n + 1),
    "1001 and up": lambda rng, n: 1001 + np.arange(n),
    "spread": lambda rng, n: np.sort(rng.choice(np.arange(1, 60_000), n, replace=False)),
    "of 8 bits": lambda rng, n: np.sort(rng.choice(np.arange(1, 256), min(n, 255), replace=False)),
    "two hemispheres": lambda rng, n: np.concatenate([1001 + np.arange(n // 2), 2001 + np.arange(n - n // 2)]),
    "some and void": lambda rng, n: np.append(np.arange(1, min(n, 200)), 255),
}


def attempt_labels(seed: int, count: int, kind: str, real: bool) -> None:
    """One map of labels: refused until one is chosen."""
    rng = np.random.default_rng(seed)
    levels = LEVELS[kind](rng, count)
    labels = label_map(rng, levels)
    held = np.unique(labels[labels != 0])
    if len(held) < 2 or min((labels == each).sum() for each in held) < 2:
        return
    values = labels.astype(np.float32) * np.float32(1.0000001) if real else labels
    said = refused(values)
    assert f"labels {held[0]}, {held[1]}" in said or (f"labels {held[0]} to " in said and len(held) > 8)
    for chosen in (held[0], held[-1]):
        mask, notes = target(values, PATH, int(chosen))
        assert (mask == (labels == chosen)).all() and notes == ()


def attempt_resized(seed: int, scale: float, way: str, real: bool) -> None:
    """One mask that was resized: cut at half of its maximum."""
    soft = resized(shape(np.random.default_rng(seed)), scale, way, real)
    assert (target(soft, PATH)[0] == (soft > soft.max() / 2)).all()


@settings(max_examples=25)
@given(seeds, st.sampled_from([2, 3, 5, 9, 20, 35, 81, 117, 300]), st.sampled_from(sorted(LEVELS)), st.booleans())
@pytest.mark.fault("N1")
def test_labels_of_any_number_and_size_are_refused_until_one_is_chosen(
    seed: int, count: int, kind: str, real: bool
) -> None:
    attempt_labels(seed, count, kind, real)


@settings(max_examples=25)
@given(seeds, st.sampled_from([0.5, 0.7, 1.4, 2.0, 4.0, 8.0]), st.sampled_from(PILLOW + OPENCV), st.booleans())
@pytest.mark.fault("N1", "D6")
def test_a_mask_that_was_resized_is_cut_at_half(seed: int, scale: float, way: str, real: bool) -> None:
    attempt_resized(seed, scale, way, real)


@settings(max_examples=25)
@given(seeds, st.sampled_from([60, 75, 90, 95]))
@pytest.mark.fault("N1", "D6")
def test_a_mask_that_was_compressed_is_cut_at_half(seed: int, quality: int) -> None:
    mask, stream = shape(np.random.default_rng(seed)), io.BytesIO()
    Image.fromarray(mask * np.uint8(255)).save(stream, "jpeg", quality=quality)
    values = np.asarray(Image.open(stream))
    assert (target(values, PATH)[0] == (values > values.max() / 2)).all()


@pytest.mark.fault("N1")
def test_all_labels_are_named_and_how_many_there_are() -> None:
    levels = np.array([0, 1, 2, 3, 4, 7, 8, 11, *range(20, 95)])
    said = refused(np.kron(levels[:82].reshape(2, 41), np.ones((5, 5))).astype(np.uint16))
    assert "labels 1 to 4, 7, 8, 11, 20 to 93 (81 in all): choose one with dataset.files.label=N." in said
    said = refused(np.kron(2 * np.arange(82).reshape(2, 41), np.ones((5, 5))).astype(np.uint16))
    assert "labels 2, 4, 6, 8, 10 and 76 more (81 in all): choose one with dataset.files.label=N." in said


@pytest.mark.fault("N1")
@pytest.mark.parametrize("levels", [(1, 2), (-1, 0), (-1, 1), (0.5, 1.0, 1.5, 0), (76, 255)])
def test_what_cannot_be_background_and_target_is_refused(levels: tuple[float, ...]) -> None:
    assert "mask holds the l" in refused(np.kron(np.array([levels]), np.ones((6, 6)))) or 0.5 in levels


@pytest.mark.fault("N1")
def test_a_label_that_is_not_there_is_told_beside_those_that_are() -> None:
    labels = np.kron(np.array([[0, 3], [1001, -2]]), np.ones((4, 4), int))
    assert (target(labels, PATH, -2)[0] == (labels == -2)).all()
    mask, notes = target(labels, PATH, 7)
    assert not mask.any() and notes == ("the mask holds no label 7, but -2, 3, 1001",)
    assert target(np.zeros((4, 4)), PATH, 7)[1] == ()


@pytest.mark.fault("N1", "D6")
def test_half_of_a_range_is_no_target_where_numbers_are_signed() -> None:
    distances = np.hypot(*np.mgrid[-20:20, -20:20]) - 9.5
    assert "neither whole nor a soft edge" in refused(-distances)


@pytest.mark.fault("N1")
@pytest.mark.parametrize("levels", [np.linspace(1, 255, 44).round(), np.arange(1, 118), 1000 + np.arange(1, 36)])
def test_labels_of_a_volume_may_lie_in_layers_thinner_than_a_slice(levels: NDArray[Any]) -> None:
    inside = (np.stack(np.mgrid[:20, :26, :24], -1) - (9.5, 12.5, 11.5)) ** 2 @ (1 / 81, 1 / 144, 1 / 100) <= 1
    labels = np.zeros(inside.shape, np.int32)
    for level, part in zip(levels, np.array_split(np.argwhere(inside), len(levels)), strict=True):
        labels[tuple(part.T)] = level
    assert f"({len(levels)} in all)" in refused(labels)
    assert f"({len(levels)} in all)" in refused(labels.astype(np.float32))
