"""Domain randomisation: one label map becomes endlessly many pictures, so that networks learn shape, not scanner.

The idea is SynthSeg's and SynthStrip's (intensities drawn per label, deformation, bias field, resolution, artefacts)
and SynthMorph's (label maps of smoothed noise).
Every function takes a random generator, works on float32 or uint8 arrays (H, W), and leaves its input untouched.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.float32]
Labels = NDArray[np.uint8]


def _float(array: object) -> Image:
    return np.asarray(array, np.float32)


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: float) -> Image:
    """Smooth noise of zero mean and unit variance with about `cells` bumps along the longer side."""
    height, width = shape
    step = max(shape) / max(cells, 1.0)
    grid = rng.standard_normal((int(height / step) + 3, int(width / step) + 3), dtype=np.float32)
    return _float(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))


def noise_labels(rng: np.random.Generator, shape: tuple[int, int]) -> Labels:
    """A label map of smoothed noise (SynthMorph): the largest of several noise fields wins at each pixel."""
    count = int(rng.integers(3, 12))
    cells = float(rng.uniform(2, 9))
    fields = np.stack([smooth_noise(rng, shape, cells) + rng.normal(0, 0.5) for _ in range(count)])
    return np.asarray(fields.argmax(0) + (0 if rng.random() < 0.5 else 1), np.uint8)


def warp(
    rng: np.random.Generator, image: Image, labels: Labels, shape: tuple[int, int], strength: float = 1.0
) -> tuple[Image, Labels]:
    """Random affine and elastic deformation of a picture and its labels onto a canvas of `shape`."""
    height, width = shape
    source_height, source_width = labels.shape
    angle = np.deg2rad(rng.normal(0, 12 * strength))
    zoom = np.exp(rng.normal(0, 0.15 * strength, 2))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    y, x = (y + 0.5) / height - 0.5, (x + 0.5) / width - 0.5
    if rng.random() < 0.5:
        x = -x
    centre = rng.normal(0, 0.06 * strength, 2)
    aspect = source_width / source_height
    u = zoom[0] * (np.cos(angle) * x * aspect - np.sin(angle) * y) / aspect + centre[0] + 0.5
    v = zoom[1] * (np.sin(angle) * x * aspect + np.cos(angle) * y) + centre[1] + 0.5
    for cells, size in ((3, 0.02), (8, 0.006)):
        amount = strength * size * rng.random()
        u += amount * smooth_noise(rng, shape, cells)
        v += amount * smooth_noise(rng, shape, cells)
    map_x, map_y = (u * source_width - 0.5).astype(np.float32), (v * source_height - 0.5).astype(np.float32)
    border = cv2.BORDER_REPLICATE if rng.random() < 0.5 else cv2.BORDER_CONSTANT
    picture = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=border)
    moved = cv2.remap(labels, map_x, map_y, cv2.INTER_NEAREST, borderMode=border)
    return _float(picture), np.asarray(moved, np.uint8)


def paint(rng: np.random.Generator, labels: Labels) -> Image:
    """A picture in [0, 1] whose intensity, grain and texture are drawn anew for every label (Gaussian mixture)."""
    count = int(labels.max()) + 1
    means = rng.uniform(0.0, 1.0, count).astype(np.float32)
    grain = (rng.random(count) ** 2 * 0.15).astype(np.float32)
    texture = (rng.random(count) ** 2 * 0.25).astype(np.float32)
    if rng.random() < 0.5:
        means[0] = rng.random() * 0.1
        grain[0] = texture[0] = 0.01
    noise = rng.standard_normal(labels.shape, dtype=np.float32)
    coarse = smooth_noise(rng, labels.shape, float(rng.uniform(8, 60)))
    return _float(np.clip(means[labels] + grain[labels] * noise + texture[labels] * coarse, 0, 1))


def outline(rng: np.random.Generator, picture: Image, labels: Labels) -> Image:
    """Bright or dark borders between labels, as interfaces show in ultrasound and bone in x-ray; broken at random."""
    edges = cv2.morphologyEx(labels, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    soft = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), float(rng.uniform(0.7, 2.5)))
    gate = np.clip(smooth_noise(rng, labels.shape, float(rng.uniform(2, 6))) + rng.uniform(-0.5, 1), 0, 1)
    return _float(np.clip(picture + float(rng.normal(0, 0.6)) * soft * gate, 0, 1))


def gamma(rng: np.random.Generator, picture: Image) -> Image:
    """Contrast: a random power and a random window."""
    low, high = rng.uniform(-0.15, 0.2), rng.uniform(0.75, 1.3)
    window = np.clip((picture - low) / (high - low), 0, 1)
    return _float(window ** np.float32(np.exp(rng.normal(0, 0.45))))


def invert(rng: np.random.Generator, picture: Image) -> Image:
    """The negative."""
    return _float(1 - picture)


def bias(rng: np.random.Generator, picture: Image) -> Image:
    """A smooth multiplicative field: coil sensitivity, gain, exposure."""
    field = smooth_noise(rng, (picture.shape[0], picture.shape[1]), float(rng.uniform(1, 4)))
    return _float(np.clip(picture * np.exp(rng.uniform(0.1, 0.5) * field), 0, 1))


def blur(rng: np.random.Generator, picture: Image) -> Image:
    """Gaussian blur, at times stronger along one axis as beams and thick slices do."""
    x, y = rng.uniform(0.3, 2.2, 2) if rng.random() < 0.4 else [rng.uniform(0.3, 1.6)] * 2
    return _float(cv2.GaussianBlur(picture, (0, 0), sigmaX=float(x), sigmaY=float(y)))


def resolution(rng: np.random.Generator, picture: Image) -> Image:
    """Down and up again: a scanner of lower resolution."""
    factor = rng.uniform(1.2, 3.5)
    small = (max(8, int(picture.shape[1] / factor)), max(8, int(picture.shape[0] / factor)))
    low = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return _float(cv2.resize(low, picture.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def grain(rng: np.random.Generator, picture: Image) -> Image:
    """Additive noise, white or smooth."""
    noise: Image = rng.standard_normal(picture.shape, dtype=np.float32)
    if rng.random() < 0.5:
        noise = _float(cv2.GaussianBlur(noise, (0, 0), float(rng.uniform(0.5, 1.5))) * 2)
    return _float(np.clip(picture + rng.uniform(0.01, 0.08) * noise, 0, 1))


def speckle(rng: np.random.Generator, picture: Image) -> Image:
    """Multiplicative noise, longer across the beam than along it."""
    white = rng.standard_normal(picture.shape, dtype=np.float32)
    across, along = float(rng.uniform(0.6, 2.5)), float(rng.uniform(0.4, 1.2))
    noise = cv2.GaussianBlur(white, (0, 0), sigmaX=across, sigmaY=along)
    return _float(np.clip(picture * (1 + rng.uniform(0.15, 0.45) * noise / noise.std()), 0, 1))


def shadow(rng: np.random.Generator, picture: Image) -> Image:
    """A dark band across the picture: acoustic shadow, collimation, a tilted plate."""
    y, x = np.mgrid[0 : picture.shape[0], 0 : picture.shape[1]].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    u, v = x / picture.shape[1] - rng.random(), y / picture.shape[0] - rng.random()
    across = u * np.cos(angle) + v * np.sin(angle)
    width = rng.uniform(0.03, 0.25)
    return _float(picture * (1 - np.float32(rng.uniform(0.3, 0.95)) * np.exp(-((across / width) ** 2))))


def boxes(rng: np.random.Generator, picture: Image) -> Image:
    """Flat rectangles as of removed text, markers and scale bars."""
    out = picture.copy()
    height, width = picture.shape
    for _ in range(int(rng.integers(1, 4))):
        h, w = (rng.uniform(0.02, 0.18, 2) * (height, width)).astype(int) + 1
        top, left = int(rng.integers(0, height - h)), int(rng.integers(0, width - w))
        out[top : top + h, left : left + w] = rng.choice([0.0, 1.0, rng.random()])
    return out


AUGMENTATIONS: tuple[tuple[float, Callable[[np.random.Generator, Image], Image]], ...] = (
    (0.35, blur),
    (0.30, resolution),
    (0.45, bias),
    (0.25, shadow),
    (0.60, gamma),
    (0.08, invert),
    (0.25, speckle),
    (0.40, grain),
    (0.20, boxes),
)


def augment(rng: np.random.Generator, picture: Image) -> Image:
    """Each augmentation with its own probability, in the order in which a scanner would cause it."""
    for chance, function in AUGMENTATIONS:
        if rng.random() < chance:
            picture = function(rng, picture)
    return picture.astype(np.float32)
