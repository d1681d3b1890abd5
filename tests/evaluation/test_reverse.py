"""Reverse classification accuracy is high for masks that fit other images' labels, and knows no case by itself."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from salip_exp.evaluation._reverse import Reference, reference_of, reverse_accuracy


def disc(x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:200, :240]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def labelled(name: str, x: float, y: float, radius: float, mask: np.ndarray | None = None) -> Reference:
    texture = cv2.GaussianBlur(np.random.default_rng(0).uniform(0, 80, (200, 240)).astype(np.float32), (0, 0), 5)
    grey = (texture + 150 * disc(x, y, radius)).astype(np.uint8)
    image = np.repeat(grey[..., None], 3, axis=2)
    return reference_of(name, image, disc(x, y, radius) if mask is None else mask)


REFERENCES = [labelled("a", 110, 100, 50), labelled("b", 130, 95, 60)]


def test_a_good_mask_is_carried_over_and_a_poor_one_is_not() -> None:
    good = reverse_accuracy(labelled("c", 120, 100, 55), REFERENCES)
    half = reverse_accuracy(labelled("c", 120, 100, 55, disc(120, 100, 55) & disc(60, 100, 55)), REFERENCES)
    empty = reverse_accuracy(labelled("c", 120, 100, 55, np.zeros((200, 240), bool)), REFERENCES)
    assert good is not None and half is not None
    assert good > 0.95 and half < 0.8 and empty == 0


def test_no_case_is_its_own_reference() -> None:
    assert reverse_accuracy(labelled("a", 110, 100, 50), REFERENCES[:1]) is None
    assert reverse_accuracy(labelled("a", 110, 100, 50), REFERENCES) == pytest.approx(0.99, abs=0.05)
