"""Distances between outlines against MONAI and `surface-distance`: where they agree, and how far they differ."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import surface_distance
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from salip_exp.evaluation.metrics import hd95, surface_dice

TOLERANCE = 2.0


def ellipse(rng: np.random.Generator) -> np.ndarray:
    canvas = np.zeros((64, 80), np.uint8)
    centre, axes = rng.integers((30, 22), (50, 42)), rng.integers((5, 5), (25, 20))
    cv2.ellipse(canvas, centre.tolist(), axes.tolist(), int(rng.integers(180)), 0, 360, 1, -1)
    return canvas > 0


def pairs(n: int = 40):
    """Ellipses that lie across each other, and every fourth time masks that touch the frame or are noise."""
    rng = np.random.default_rng(4)
    for i in range(n):
        a, b = ellipse(rng), ellipse(rng)
        if i % 4 == 1:
            a = np.roll(a, -25, axis=0)
        if i % 4 == 2:
            b = rng.random(b.shape) > 0.6
        if i % 4 == 3:
            b = np.roll(a, rng.integers(-3, 4, 2), axis=(0, 1))
        yield a, b, tuple(rng.uniform(0.3, 1.5, 2).tolist())


def batch(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


def of_surface_distance(a, b, spacing) -> float:
    distances = surface_distance.compute_surface_distances(b, a, spacing)
    return surface_distance.compute_surface_dice_at_tolerance(distances, TOLERANCE)


def of_monai(a, b, spacing, by_length: bool) -> float:
    dice = compute_surface_dice(
        batch(a), batch(b), [TOLERANCE], include_background=True, spacing=spacing, use_subvoxels=by_length
    )
    return float(dice)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_surface_dice_is_that_of_the_surface_distance_package():
    for a, b, spacing in pairs():
        assert surface_dice(a, b, spacing, TOLERANCE) == pytest.approx(of_surface_distance(a, b, spacing), abs=1e-12)


def test_surface_dice_is_monais_by_length_and_near_its_count_of_pixels():
    differences = []
    for a, b, spacing in pairs():
        ours = surface_dice(a, b, spacing, TOLERANCE)
        assert ours == pytest.approx(of_monai(a, b, spacing, by_length=True), abs=1e-6)
        differences.append(abs(ours - of_monai(a, b, spacing, by_length=False)))
    assert 0.001 < np.mean(differences) < 0.05
    assert max(differences) < 0.2


def test_hd95_is_monais():
    for a, b, spacing in pairs():
        theirs = compute_hausdorff_distance(
            batch(a), batch(b), include_background=True, percentile=95, spacing=list(spacing)
        )
        assert hd95(a, b, spacing) == pytest.approx(float(theirs), rel=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_hd95_differs_from_surface_distances_by_about_a_pixel():
    differences = []
    for a, b, spacing in pairs():
        distances = surface_distance.compute_surface_distances(b, a, spacing)
        differences.append(abs(hd95(a, b, spacing) - surface_distance.compute_robust_hausdorff(distances, 95)))
    assert 0 < np.median(differences) < 0.75
