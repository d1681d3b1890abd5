"""The corruptions of `stress=NAME:SEVERITY`, each a few lines of numpy, scipy or OpenCV.

torchio and MONAI have most of them, by torch and with numbers that differ between their versions. These need no torch
where data are read, and give the same pixels as long as these lines stand.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy import ndimage

from salip_exp.data.stress import Corruption, Picture

_SIDE = 256  # pixels of the long side that grains are told for


def _speckle(picture: Picture, sd: float, rng: np.random.Generator) -> Picture:
    """Multiplicative noise in grains of about two pixels of 256, the same in all colours: I (1 + sd n)."""
    shape = picture.shape[:2]
    grains = ndimage.gaussian_filter(rng.normal(size=shape), max(shape) / _SIDE)
    return _times(picture, 1 + sd * grains / max(grains.std(), 1e-12))


def _shadow(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    """A dark fan from above, as behind bone or gas: a tenth of the light is left inside, and its edges are soft.

    It is as wide as its share of the image at mid depth.
    """
    middle, start, slant = rng.uniform(0.3, 0.7), rng.uniform(0, 0.25), rng.uniform(-0.3, 0.3)
    down, across = _grid(picture)
    distance = np.abs(across - middle - slant * down) / (share / 2 * (0.5 + down))
    inside = _smooth(1.2 - distance, 0.4) * _smooth(down - start, 0.1)
    return _times(picture, 1 - 0.9 * inside)


def _gain(picture: Picture, stops: float, rng: np.random.Generator) -> Picture:
    """Too bright, and cut at white, or too dark: I 2^(+-stops)."""
    return picture * float(2.0 ** (stops if rng.random() < 0.5 else -stops))


def _bias(picture: Picture, sd: float, rng: np.random.Generator) -> Picture:
    """A smooth field as of a coil: I exp(f), f a random polynomial of third degree with a deviation over the image."""
    powers = [(i, j) for i in range(4) for j in range(4) if 0 < i + j < 4]
    factors = rng.uniform(-1, 1, len(powers))
    down, across = (2 * each - 1 for each in _grid(picture))
    field = sum(factor * down**i * across**j for factor, (i, j) in zip(factors, powers, strict=True))
    field = np.asarray(field - np.mean(field), np.float64)
    return _times(picture, np.exp(sd * field / max(field.std(), 1e-12)))


def _ghosting(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    """Copies to both sides, as of motion along the phase-encoding direction: their mean has a share in what is seen."""
    axis, parts = int(rng.integers(2)), int(rng.integers(3, 6))
    step = max(1, round(picture.shape[axis] / parts))
    copies = (np.roll(picture, step, axis) + np.roll(picture, -step, axis)) / 2
    return (1 - share) * picture + share * copies


def _blur(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    """A Gaussian whose deviation is a share of the long side."""
    sigma = share * max(picture.shape[:2])
    return np.asarray(ndimage.gaussian_filter(picture, (sigma, sigma, 0), mode="nearest"), np.float64)


def _crop(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    """A part at one of the four sides lies outside of the field of view: it is black, and no target."""
    side = int(rng.integers(4))
    length = picture.shape[side % 2]
    cut = round(share * length)
    inside = np.s_[cut:] if side < 2 else np.s_[: length - cut]
    found = np.zeros_like(picture)
    where = (inside, slice(None)) if side % 2 == 0 else (slice(None), inside)
    found[where] = picture[where]
    return found


def _occlusion(picture: Picture, share: float, rng: np.random.Generator) -> Picture:
    """An even rectangle of any grey lies over a share of the image; the organ is behind it and stays the target."""
    grey, aspect, y, x = rng.random(), rng.uniform(0.6, 1.6), *rng.uniform(0.25, 0.75, 2)
    down, across = _grid(picture)
    tall, wide = np.sqrt(share * aspect), np.sqrt(share / aspect)
    covered = (np.abs(down - y) <= tall / 2) & (np.abs(across - x) <= wide / 2)
    return np.where(covered[:, :, None], grey, picture)


def _inversion(picture: Picture, factor: float, rng: np.random.Generator) -> Picture:
    """Contrast around the middle of the range, times a factor: less of it, then white for black."""
    middle = float(picture.min() + picture.max()) / 2
    return middle + factor * (picture - middle)


def _resolution(picture: Picture, times: float, rng: np.random.Generator) -> Picture:
    """Shrunk so many times by averaging, and grown back."""
    height, width = picture.shape[:2]
    small = max(1, round(width / times)), max(1, round(height / times))
    shrunk = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.float64)


def _rotation(picture: Picture, degrees: float, rng: np.random.Generator) -> Picture:
    """Turned one way or the other around its middle; what comes in from outside is black."""
    angle = degrees if rng.random() < 0.5 else -degrees
    return np.asarray(ndimage.rotate(picture, angle, reshape=False, order=1, mode="constant"), np.float64)


def _times(picture: Picture, factors: Picture) -> Picture:
    """Every colour times the same factors (H, W)."""
    return np.asarray(picture * factors[:, :, None], np.float64)


def _grid(picture: Picture) -> tuple[Picture, Picture]:
    """How far down and across each pixel's middle lies, from 0 to 1: (H, 1) and (1, W)."""
    height, width = picture.shape[:2]
    return (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None, :] + 0.5) / width


def _smooth(values: Picture, width: float) -> Picture:
    """0 below 0, 1 above a width, and a cubic between."""
    share = np.clip(values / width, 0, 1)
    return share * share * (3 - 2 * share)


SPECKLE = Corruption("multiplicative noise in grains; its deviation", (0.08, 0.15, 0.25, 0.4, 0.6), _speckle)
SHADOW = Corruption("a dark fan from above; its share of the width", (0.08, 0.15, 0.25, 0.37, 0.5), _shadow)
GAIN = Corruption("too bright or too dark; stops of 2", (0.4, 0.8, 1.2, 1.7, 2.3), _gain)
BIAS = Corruption("a smooth field; the deviation of its logarithm", (0.2, 0.4, 0.6, 0.85, 1.1), _bias)
GHOSTING = Corruption("copies to both sides; their share", (0.15, 0.25, 0.35, 0.47, 0.6), _ghosting)
BLUR = Corruption("Gaussian; its deviation in long sides", (0.004, 0.008, 0.014, 0.022, 0.032), _blur)
CROP = Corruption("a side is cut off; its share", (0.1, 0.2, 0.3, 0.4, 0.5), _crop, moves=True)
OCCLUSION = Corruption("an even rectangle; its share of the image", (0.02, 0.05, 0.1, 0.17, 0.25), _occlusion)
INVERSION = Corruption("contrast times a factor", (0.6, 0.25, -0.25, -0.6, -1.0), _inversion)
RESOLUTION = Corruption("shrunk and grown; times", (2, 4, 7, 11, 16), _resolution)
ROTATION = Corruption("turned one way or the other; degrees", (10, 20, 40, 65, 90), _rotation, moves=True)
