"""Surfaces of voxels: areas that are known, and those of `surface-distance`."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from surface_distance import lookup_tables

from salip_exp.evaluation._surfaces import _areas, sizes


def test_areas_of_flat_pieces_are_those_of_surface_distance() -> None:
    spacing = (0.7, 1.3, 3.0)
    mine, theirs = _areas(spacing), lookup_tables.create_table_neighbour_code_to_surface_area(spacing)
    assert mine[0] == mine[255] == 0
    flat = np.isclose(mine, theirs)
    assert flat.sum() > 100, "the others are bent, or have corners that only touch"
    for code in range(8):
        assert flat[1 << code] and flat[255 - (1 << code)]


@pytest.mark.ci
@given(st.tuples(*[st.integers(2, 9)] * 3), st.tuples(*[st.floats(0.3, 4)] * 3))
def test_a_block_has_the_area_of_its_faces_but_for_its_blunt_edges(shape, spacing) -> None:
    found = sizes(np.ones(shape, bool), spacing)
    assert found.shape == tuple(length + 1 for length in shape)
    x, y, z = np.multiply(shape, spacing)
    assert 0.5 * 2 * (x * y + y * z + z * x) < found.sum() < 2 * (x * y + y * z + z * x)


def test_a_ball_has_nearly_the_area_of_a_ball() -> None:
    grid = np.stack(np.mgrid[:64, :64, :64]).reshape(3, -1).T
    ball = (((grid - 31.5) ** 2).sum(1) <= 25**2).reshape(64, 64, 64)
    assert sizes(ball, (1, 1, 1)).sum() == pytest.approx(4 * math.pi * 25**2, rel=0.1)
