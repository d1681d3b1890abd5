"""Brain MR phantoms: scanner profiles, the rendering of a label volume, and the native CC359 layout."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations
from numpy.typing import NDArray
from scipy import ndimage

from salip_exp._files import write_bytes
from salip_exp.data._phantoms.brain_anatomy import LABELS, PARTS, anatomy
from salip_exp.data._phantoms.sculpt import Field, Point, interpolate, lookup, smooth_noise
from salip_exp.errors import ConfigError, EnvironmentFault

__all__ = ["LABELS", "PARTS", "PROFILES", "anatomy", "brain_mask", "render", "write_cc359"]

_SITE = "phantom"

# Relative T1 intensities, white matter = 1; a profile's contrast stretches the tissues around white matter.
_TISSUE: Mapping[str, tuple[float, float]] = {
    "air": (0.0, 0.0), "skin": (0.55, 0.12), "scalp": (1.45, 0.15), "muscle": (0.50, 0.10), "bone": (0.08, 0.3),
    "marrow": (0.80, 0.25), "csf": (0.20, 0.15), "sulcal_csf": (0.24, 0.15), "grey_matter": (0.70, 0.05),
    "white_matter": (1.0, 0.03), "ventricle": (0.20, 0.08), "deep_grey": (0.82, 0.05), "cerebellum_grey": (0.70, 0.06),
    "cerebellum_white": (0.97, 0.05), "brainstem": (0.93, 0.05), "spinal_cord": (0.90, 0.06), "eye": (0.22, 0.06),
    "lens": (0.50, 0.10), "orbital_fat": (1.40, 0.10), "optic_nerve": (0.70, 0.08), "sinus_air": (0.03, 0.5),
    "mucosa": (0.65, 0.15), "dura": (0.45, 0.2), "face_fat": (1.30, 0.15), "tongue": (0.62, 0.15),
    "cartilage": (0.40, 0.15),
}  # fmt: skip


@dataclass(frozen=True)
class _Profile:
    """How a scanner turns tissue into an image.

    Attributes:
        vendor: `ge`, `philips` or `siemens`.
        field: field strength as CC359 writes it, `15` or `3`.
        white: mean intensity of white matter in the stored units.
        contrast: factor on every tissue's distance from white matter in T1 contrast; 1 is the reference.
        fat: factor on the brightness of fat and marrow, below 1 for fat suppression.
        noise: sigma of the Rician noise, relative to white matter.
        bias: peak-to-mean strength of the multiplicative bias field.
        voxel_mm: voxel size (right, anterior, superior).
        blur_mm: sigma of the point spread (right, anterior, superior).
        ringing: overshoot of truncation (Gibbs) ringing along the phase axis, relative to an edge.
        ghost: strength of the motion ghost along the phase axis, relative.
        stored: orientation of the stored axes, e.g. `PSR`; sagittal as in CC359, so that readers must turn it.
    """

    vendor: str
    field: str
    white: float
    contrast: float
    fat: float
    noise: float
    bias: float
    voxel_mm: Point
    blur_mm: Point
    ringing: float
    ghost: float
    stored: str


PROFILES: dict[str, _Profile] = {
    "GE 1.5": _Profile(
        vendor="ge", field="15", white=520, contrast=0.95, fat=1.0, noise=0.045, bias=0.12,
        voxel_mm=(2.0, 1.5, 1.5), blur_mm=(0.9, 0.7, 0.7), ringing=0.0, ghost=0.01, stored="PIL",
    ),
    "GE 3": _Profile(
        vendor="ge", field="3", white=3100, contrast=1.15, fat=0.95, noise=0.025, bias=0.3,
        voxel_mm=(1.8, 1.5, 1.5), blur_mm=(0.7, 0.5, 0.5), ringing=0.02, ghost=0.0, stored="PIL",
    ),
    "Philips 1.5": _Profile(
        vendor="philips", field="15", white=900, contrast=0.8, fat=0.8, noise=0.065, bias=0.1,
        voxel_mm=(2.0, 1.6, 1.6), blur_mm=(0.9, 0.9, 0.9), ringing=0.04, ghost=0.0, stored="PSR",
    ),
    "Philips 3": _Profile(
        vendor="philips", field="3", white=1400, contrast=1.05, fat=0.6, noise=0.03, bias=0.38,
        voxel_mm=(1.8, 1.6, 1.6), blur_mm=(0.7, 0.6, 0.6), ringing=0.05, ghost=0.015, stored="PSR",
    ),
    "Siemens 1.5": _Profile(
        vendor="siemens", field="15", white=260, contrast=1.0, fat=1.15, noise=0.055, bias=0.15,
        voxel_mm=(2.0, 1.6, 1.5), blur_mm=(1.0, 0.8, 0.7), ringing=0.0, ghost=0.02, stored="PIR",
    ),
    "Siemens 3": _Profile(
        vendor="siemens", field="3", white=410, contrast=1.25, fat=1.05, noise=0.02, bias=0.25,
        voxel_mm=(1.8, 1.5, 1.5), blur_mm=(0.6, 0.5, 0.5), ringing=0.03, ghost=0.0, stored="PIR",
    ),
}  # fmt: skip


def render(
    labels: NDArray[np.uint8], profile: _Profile, rng: np.random.Generator, voxel_mm: float | Point
) -> NDArray[np.int16]:
    """T1-weighted image of a label volume as the profile's scanner would store it, of the same shape.

    Args:
        labels: volume of `LABELS` in RAS+ axes.
        profile: the scanner.
        rng: source of texture, bias field and noise.
        voxel_mm: voxel size of `labels`, one number or one per axis.
    """
    voxel = np.broadcast_to(np.asarray(voxel_mm, np.float64), 3)
    image = _tissue(labels, profile, rng)
    image = ndimage.gaussian_filter(image, [b / v for b, v in zip(profile.blur_mm, voxel, strict=True)], truncate=3.0)
    image *= 1.0 + profile.bias * _low(rng, image.shape, rng.uniform(1.0, 2.2)) / 1.5
    image = _artefacts(image, profile)
    real = image + profile.noise * rng.normal(size=image.shape)
    imaginary = profile.noise * rng.normal(size=image.shape)
    magnitude = np.sqrt(real * real + imaginary * imaginary)
    return np.clip(np.rint(magnitude * profile.white), 0, 32767).astype(np.int16)


def _tissue(labels: NDArray[np.uint8], profile: _Profile, rng: np.random.Generator) -> Field:
    """Mean intensity of each label, times a texture of slow variation and of grain."""
    mean, sd = np.zeros(256), np.zeros(256)
    for name, (value, spread) in _TISSUE.items():
        number = LABELS[name]
        fat = profile.fat if name in ("scalp", "marrow", "orbital_fat", "face_fat") else 1.0
        toned = 1.0 - profile.contrast * (1.0 - value) if 0.3 < value < 1.0 else value
        mean[number] = toned * fat * (1.0 + 0.03 * rng.normal())
        sd[number] = spread
    texture = 0.6 * _low(rng, labels.shape, 9.0) + 0.6 * rng.normal(size=labels.shape)
    return np.maximum(mean[labels] * (1.0 + sd[labels] * texture), 0.0)


def _low(rng: np.random.Generator, shape: tuple[int, ...], cells: float) -> Field:
    """Slow noise over a volume, computed small and interpolated."""
    small = smooth_noise(rng, [24, 24, 24], [cells] * 3)
    return interpolate(small, [np.linspace(0.0, 23.0, n) for n in shape])


def _artefacts(image: Field, profile: _Profile) -> Field:
    """Gibbs ringing and a motion ghost along the anterior-posterior phase axis."""
    if profile.ringing:
        g = profile.ringing
        image = ndimage.correlate1d(image, [-g, g, -2 * g, 1 + 4 * g, -2 * g, g, -g], axis=1, mode="nearest")
    if profile.ghost:
        image = image + profile.ghost * np.roll(image, image.shape[1] // 2, axis=1)
    return np.maximum(image, 0.0)


def brain_mask(labels: NDArray[np.uint8], voxel_mm: float | Point) -> NDArray[np.bool_]:
    """Brain as a silver standard draws it: the organ's labels with narrow gaps closed and the outline smoothed.

    Args:
        labels: volume of `LABELS` in RAS+ axes.
        voxel_mm: voxel size, one number or one per axis.
    """
    voxel = np.broadcast_to(np.asarray(voxel_mm, np.float64), 3)
    organ = lookup(PARTS["brain"])[labels].astype(np.float64)
    return ndimage.gaussian_filter(organ, 2.0 / voxel, truncate=3.0) > 0.45  # type: ignore[no-any-return]


def write_cc359(root: Path, volumes_per_group: int, seed: int) -> None:
    """Write phantoms for all profiles in the native layout of CC359.

    Makes `Original/<site>/CC0001_philips_15_55_M.nii.gz` (int16) and
    `Silver-standard/<site>/CC0001_philips_15_55_M_ss.nii.gz` (uint8), stored sagittally (P, S, R) as scanners do.
    Each volume depends on the seed and its own number only.

    Args:
        root: folder to write below; made if absent.
        volumes_per_group: volumes for each of the six profiles.
        seed: seed of the whole set.
    """
    if volumes_per_group < 1:
        raise ConfigError(f"volumes_per_group is {volumes_per_group}; give at least 1")
    number = 0
    for profile in PROFILES.values():
        for _ in range(volumes_per_group):
            number += 1
            rng = np.random.default_rng([seed, number])
            name = f"CC{number:04d}_{profile.vendor}_{profile.field}_{rng.integers(29, 81)}_{rng.choice(['F', 'M'])}"
            labels = anatomy(rng, profile.voxel_mm)
            image = render(labels, profile, rng, profile.voxel_mm)
            mask = brain_mask(labels, profile.voxel_mm).astype(np.uint8)
            _save(root / "Original" / _SITE / f"{name}.nii.gz", image, profile)
            _save(root / "Silver-standard" / _SITE / f"{name}_ss.nii.gz", mask, profile)


def _save(path: Path, volume: NDArray[np.int16] | NDArray[np.uint8], profile: _Profile) -> None:
    """Store a RAS+ volume in the profile's orientation, under its final name only when it is complete."""
    affine = np.diag([*profile.voxel_mm, 1.0])
    affine[:3, 3] = [-0.5 * (n - 1) * v for n, v in zip(volume.shape, profile.voxel_mm, strict=True)]
    start, end = (orientations.axcodes2ornt(axes) for axes in ("RAS", profile.stored))
    turn = orientations.ornt_transform(start, end)
    image = nib.Nifti1Image(volume, affine).as_reoriented(turn)
    image.header.set_xyzt_units("mm")
    try:
        write_bytes(path, gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
    except OSError as error:
        raise EnvironmentFault(f"cannot write {path}: {error.strerror}; free space or choose another folder") from error
