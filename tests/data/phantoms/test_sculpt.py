"""The clay of the head phantom: noise, interpolation, signed distances and painting."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from salip_exp.data._phantoms.sculpt import Canvas, Sculptor, blend, interpolate, lookup, smooth_noise


def test_noise_has_unit_spread_and_finer_cells_vary_faster() -> None:
    rng = np.random.default_rng(0)
    fields = {cells: smooth_noise(rng, (40, 50, 60), [cells] * 3) for cells in (4.0, 12.0)}
    assert all(field.shape == (40, 50, 60) for field in fields.values())
    assert fields[12.0].std() == pytest.approx(1.0, abs=0.2)
    steps = {cells: np.abs(np.diff(field, axis=0)).mean() for cells, field in fields.items()}
    assert steps[12.0] > 2 * steps[4.0]


def test_interpolation_agrees_with_scipy_and_clamps_at_the_border() -> None:
    rng = np.random.default_rng(1)
    field = rng.normal(size=(4, 5, 6))
    positions = [np.array([-1.0, 0.0, 1.25, 3.0, 9.0]), np.linspace(0, 4, 7), np.linspace(0.3, 4.9, 8)]
    grid = np.meshgrid(*positions, indexing="ij")
    expected = ndimage.map_coordinates(field, grid, order=1, mode="nearest")
    assert interpolate(field, positions) == pytest.approx(expected, abs=1e-12)


def test_blend_joins_no_later_than_the_sharp_union() -> None:
    a, b = np.meshgrid(np.linspace(-20, 20, 81), np.linspace(-20, 20, 81))
    joined = blend(a, b, 6.0)
    assert (joined <= np.minimum(a, b) + 1e-12).all()
    assert joined[np.abs(a - b) > 6] == pytest.approx(np.minimum(a, b)[np.abs(a - b) > 6])


def test_shapes_are_negative_inside_and_are_pairs_off_the_midline() -> None:
    clay = Sculptor(np.random.default_rng(2), (-93.0, -116.0, -118.0), (186.0, 232.0, 216.0))
    for field in (clay.ball((40, 0, 0), (12, 14, 10)), clay.tube([(40, 0, 0), (40, 30, 0)], [9, 9])):
        _, count = ndimage.label(field < 0)
        assert count == 2
        assert field[0, -1, 0] > 50 and field.min() < -5
    _, count = ndimage.label(clay.ball((0, 0, 0), (12, 14, 10)) < 0)
    assert count == 1


def test_paint_keeps_to_the_labels_it_is_given_over() -> None:
    canvas = Canvas((30.0, 30.0, 30.0), (1.5, 1.5, 1.5))
    index = np.indices((12, 12, 12)).astype(float)
    canvas.paint(np.sqrt(((index - 5) ** 2).sum(0)) * 3 - 10, 1)
    before = int((canvas.labels == 1).sum())
    assert before * 1.5**3 == pytest.approx(4 / 3 * np.pi * 1000, rel=0.1)
    canvas.paint(index[0] * 3 - 15, 2, [1])
    assert (canvas.labels == 2).sum() == pytest.approx(before / 2, rel=0.15)
    assert lookup([1, 2])[canvas.labels].sum() == before
