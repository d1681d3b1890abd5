"""Small pictures, volumes and data sets in the native layouts, and the folder of real ones."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import DatasetConfig
from salip_exp.data.case import Dataset
from salip_exp.data.datasets import open_dataset

Save = Callable[..., Path]


@pytest.fixture(autouse=True, scope="module")
def _nothing_left_open() -> None:
    """What tests of other modules left open is said when it is collected: now, and not as a word of a reader."""
    gc.collect()


@pytest.fixture(autouse=True)
def silent(capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> Any:
    """No reader ever writes to the terminal or warns, whatever it is given."""
    yield
    assert capfd.readouterr() == ("", "")
    assert [str(each.message) for each in recwarn] == []


@cache
def composed(name: str) -> DictConfig:
    """The configuration of a data set as Hydra composes it, which takes a while."""
    return compose([f"dataset={name}", "vdt=brain"])


@pytest.fixture
def config() -> Callable[..., DatasetConfig]:
    """The configuration of a data set by overrides, e.g. `config("hc18", "fill=never")`."""

    def make(name: str, *overrides: str) -> DatasetConfig:
        return typed(OmegaConf.merge(composed(name), {"dataset": OmegaConf.from_dotlist(list(overrides))})).dataset

    return make


@pytest.fixture
def opened(config: Callable[..., DatasetConfig]) -> Callable[..., Dataset]:
    """A data set by name, root and overrides."""

    def make(name: str, root: Path, *overrides: str, seed: int = 1) -> Dataset:
        settings = config(name, *overrides)
        settings.root = str(root)
        return open_dataset(settings, seed)

    return make


@pytest.fixture
def picture() -> Save:
    """Write an array, or a Pillow image, as a picture file."""

    def save(path: Path, pixels: Any = None, **options: Any) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        if pixels is None:
            pixels = np.arange(12 * 16, dtype=np.uint8).reshape(12, 16)
        image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
        image.save(path, **options)
        return path

    return save


@pytest.fixture
def volume() -> Save:
    """Write an array as NIfTI, stored in an orientation such as `LPS`; its voxels lie in RAS+ order in the array."""

    def save(
        path: Path, values: NDArray[Any], stored: str = "RAS", zooms: Sequence[float] = (1, 1, 1), shift: float = 0
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        affine = np.diag([*zooms, 1.0])
        affine[:3, 3] = shift
        image = nib.Nifti1Image(values, affine)
        start, end = (nib.orientations.axcodes2ornt(axes) for axes in ("RAS", stored))
        nib.save(image.as_reoriented(nib.orientations.ornt_transform(start, end)), path)
        return path

    return save


@pytest.fixture
def brain(volume: Save) -> Save:
    """Write a CC359 volume of 12 x 10 x 8 voxels, and a mask that spans x 3..8, below a root."""

    def save(root: Path, name: str = "CC0001_philips_15_55_M", mask: bool = True, **options: Any) -> Path:
        values = np.random.default_rng(len(name)).integers(1, 900, (12, 10, 8)).astype(np.int16)
        target = np.zeros(values.shape, np.uint8)
        target[3:9, 2:8, 2:6] = 1
        if mask:
            volume(root / "Silver-standard" / "S" / f"{name}_ss.nii.gz", target, **options)
        return volume(root / "Original" / "S" / f"{name}.nii.gz", values, **options)

    return save


@pytest.fixture
def head(picture: Save) -> Save:
    """Write an HC18 image of 54 x 80 pixels with the outline of an ellipse."""

    def save(root: Path, name: str = "001_HC", centre: tuple[int, int] = (40, 27), mask: bool = True) -> Path:
        outline = np.zeros((54, 80), np.uint8)
        cv2.ellipse(outline, centre, (22, 15), 20, 0, 360, 255, 1)
        if mask:
            picture(root / "training_set" / f"{name}_Annotation.png", outline)
        return picture(
            root / "training_set" / f"{name}.png", np.arange(54 * 80, dtype=np.uint32).reshape(54, 80).astype(np.uint8)
        )

    return save
