"""How much outline, or surface, of a mask passes each corner of its pixels, or voxels."""

from __future__ import annotations

import math
from functools import cache
from itertools import combinations, pairwise, product

import numpy as np
from numpy.typing import NDArray

_Corner = tuple[int, int, int]
_Point = tuple[float, float, float]


def sizes(mask: NDArray[np.bool_], spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Millimetres of outline at every corner of the pixels of a mask (H, W), or square millimetres of surface at every
    corner of the voxels of one (X, Y, Z); 0 where none passes. It is one longer than the mask along every axis.

    Outlines run by marching squares, surfaces by marching cubes, through the middles between a pixel inside and its
    neighbour outside. Where four of them meet in a square, each corner inside is cut off by itself.
    """
    by_code = _areas(spacing) if mask.ndim == 3 else _lengths(spacing)
    padded = np.pad(mask, 1).astype(np.uint8)
    code = np.zeros([length - 1 for length in padded.shape], np.uint8)
    for corner in product((0, 1), repeat=mask.ndim):
        code = 2 * code + padded[tuple(slice(at, at + length) for at, length in zip(corner, code.shape, strict=True))]
    found: NDArray[np.float64] = by_code[code]
    return found


def _lengths(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    down, across = spacing
    slant = math.hypot(down, across) / 2
    by_code = [0, slant, slant, across, slant, down, 2 * slant, slant]  # the rest mirrors it: inside out is the same
    return np.array(by_code + by_code[::-1])


def _areas(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    return np.array([sum(_area(np.array(loop) * spacing) for loop in _loops(code)) for code in range(256)])


def _area(loop: NDArray[np.float64]) -> float:
    """Of the triangles between the sides of a polygon (n, 3), which may be bent, and its centre: sum of |a x b| / 2."""
    spokes = loop - loop.mean(axis=0)
    return float(np.linalg.norm(np.cross(spokes, np.roll(spokes, -1, axis=0)), axis=1).sum() / 2)


@cache
def _loops(code: int) -> list[list[_Point]]:
    """The polygons that part the corners of a unit cube that are inside from the others.

    Args:
        code: bits of the corners, (0, 0, 0) the highest and (1, 1, 1) the lowest.
    """
    corners: list[_Corner] = list(product((0, 1), repeat=3))  # type: ignore[arg-type]
    inside = {corner for bit, corner in zip(f"{code:08b}", corners, strict=True) if bit == "1"}
    beside: dict[_Point, list[_Point]] = {}
    for axis, at in product(range(3), (0, 1)):
        for one, other in _segments([corner for corner in corners if corner[axis] == at], inside):
            beside.setdefault(one, []).append(other)
            beside.setdefault(other, []).append(one)
    loops = []
    while beside:
        loop = [next(iter(beside))]
        while following := [each for each in beside.pop(loop[-1]) if each in beside]:
            loop.append(following[0])
        loops.append(loop)
    return loops


def _segments(face: list[_Corner], inside: set[_Corner]) -> list[tuple[_Point, _Point]]:
    """The lines in a face of the cube, between middles of its edges, that cut its corners inside from the others."""
    edges = [(a, b) for a, b in combinations(face, 2) if math.dist(a, b) == 1 and (a in inside) != (b in inside)]
    if len(edges) < 4:
        return [(_middle(*one), _middle(*other)) for one, other in pairwise(edges)]
    of_corner = [[edge for edge in edges if corner in edge] for corner in face if corner in inside]
    return [(_middle(*one), _middle(*other)) for one, other in of_corner]


def _middle(one: _Corner, other: _Corner) -> _Point:
    x, y, z = ((a + b) / 2 for a, b in zip(one, other, strict=True))
    return x, y, z
