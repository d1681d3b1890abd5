"""Chest phantoms: anatomy that holds for every seed, films with dark lungs, files in the native layout."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from salip_exp.data._phantoms.chest import LABELS, PARTS, ChestScene, anatomy, render, write_xray

SHAPE = (128, 128)
PINNED = "1ad6d6f105f2a82f15d048055294b469ccd7396c938fdc3328e27d71dd2f5ab1"


def scene_of(seed: int, shape: tuple[int, int] = SHAPE) -> tuple[ChestScene, np.ndarray]:
    rng = np.random.default_rng([seed, 0])
    scene = anatomy(rng, shape)
    return scene, render(scene, rng)


def part(scene: ChestScene, name: str) -> np.ndarray:
    return np.isin(scene.labels, PARTS[name])


seeds = st.integers(0, 2**31)


def pixels(path: Path) -> np.ndarray:
    """Decoded pixels of a picture, its file closed again."""
    with Image.open(path) as picture:
        return np.asarray(picture)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_two_connected_lungs_right_one_on_the_left_of_the_picture(seed: int) -> None:
    scene, _ = scene_of(seed)
    right, left = part(scene, "right_lung"), part(scene, "left_lung")
    assert ndimage.label(right)[1] == 1
    assert ndimage.label(left)[1] == 1
    assert np.nonzero(right)[1].mean() < np.nonzero(left)[1].mean()
    assert 0.12 <= part(scene, "lungs").mean() <= 0.45


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_lungs_are_darker_than_the_mediastinum(seed: int) -> None:
    scene, film = scene_of(seed)
    assert film[part(scene, "lungs")].mean() < film[part(scene, "mediastinum")].mean() - 5


def test_lungs_have_no_holes_and_heart_lies_between_them() -> None:
    for seed in range(12):
        scene, _ = scene_of(seed)
        lungs, heart = part(scene, "lungs"), part(scene, "heart")
        assert np.array_equal(ndimage.binary_fill_holes(part(scene, "right_lung")), part(scene, "right_lung"))
        assert not (lungs & heart).any()
        columns = [np.nonzero(part(scene, name))[1].mean() for name in ("right_lung", "heart", "left_lung")]
        assert columns == sorted(columns)


def test_labels_are_known_and_parts_are_made_of_them() -> None:
    found = np.unique(np.concatenate([np.unique(scene_of(seed)[0].labels) for seed in range(12)]))
    assert set(found) == {0, *LABELS.values()}
    assert {label for labels in PARTS.values() for label in labels} == set(LABELS.values())
    assert set(PARTS["thorax"]) == set(PARTS["lungs"]) | set(PARTS["mediastinum"])


@pytest.mark.parametrize("shape", [(96, 96), (128, 160), (256, 256)])
def test_shapes_and_types(shape: tuple[int, int]) -> None:
    scene, film = scene_of(3, shape)
    assert scene.labels.shape == film.shape == scene.frame.shape == shape
    assert scene.labels.dtype == film.dtype == np.uint8
    assert scene.frame.dtype == np.bool_
    assert all(layer.shape == shape and layer.dtype == np.float64 for layer in scene.layers.values())
    assert all(np.isfinite(layer).all() for layer in scene.layers.values())


def test_same_seed_gives_the_same_bytes_and_another_seed_others() -> None:
    (first, film), (again, film_again), (other, other_film) = scene_of(1), scene_of(1), scene_of(2)
    assert np.array_equal(first.labels, again.labels)
    assert np.array_equal(film, film_again)
    assert not np.array_equal(first.labels, other.labels)
    assert not np.array_equal(film, other_film)


def test_one_scene_gives_many_films() -> None:
    rng = np.random.default_rng(5)
    scene = anatomy(rng, SHAPE)
    assert not np.array_equal(render(scene, rng), render(scene, rng))


def test_pixels_are_pinned() -> None:
    digest = hashlib.sha256()
    for seed in range(4):
        scene, film = scene_of(seed)
        digest.update(scene.labels.tobytes())
        digest.update(film.tobytes())
    assert digest.hexdigest() == PINNED


def test_native_layout_with_one_image_without_a_mask(tmp_path: Path) -> None:
    write_xray(tmp_path, 3, seed=4)
    folder = tmp_path / "Lung Segmentation"
    images = sorted(path.stem for path in (folder / "CXR_png").iterdir())
    masks = {path.stem for path in (folder / "masks").iterdir()}
    assert [name[:11] for name in images] == ["CHNCXR_0001", "CHNCXR_0003", "MCUCXR_0002", "MCUCXR_0004"]
    assert all(name[11:] in ("_0", "_1") for name in images)
    expected = {name + "_mask" if name.startswith("CHN") else name for name in images if "0004" not in name}
    assert masks == expected
    for name in expected:
        mask = pixels(folder / "masks" / f"{name}.png")
        assert mask.shape == (512, 512)
        assert set(np.unique(mask)) == {0, 255}
    assert pixels(folder / "CXR_png" / f"{images[0]}.png").ndim == 2


def test_an_image_depends_on_seed_and_index_alone(tmp_path: Path) -> None:
    write_xray(tmp_path / "one", 1, seed=9)
    write_xray(tmp_path / "two", 2, seed=9)
    first = [sorted((tmp_path / name / "Lung Segmentation" / "CXR_png").glob("CHN*"))[0] for name in ("one", "two")]
    assert first[0].name == first[1].name
    assert np.array_equal(pixels(first[0]), pixels(first[1]))
