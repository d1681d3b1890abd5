"""The fetal-head phantom: exact masks, B-mode look, HC18's native layout, the same bytes everywhere."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from salip_exp.data._phantoms.head import LABELS, PARTS, HeadScene, anatomy, ellipse_circumference, render, write_hc18

SMALL = (128, 190)
PINNED = "70fbbd0848d2e95fd3d46e941f423b9caa8226946cd335fd15a2a50dbf41d186"


def scene_of(seed: int, shape: tuple[int, int] = SMALL) -> HeadScene:
    return anatomy(np.random.default_rng([seed, 0]), shape)


def picture_of(seed: int, shape: tuple[int, int] = SMALL) -> NDArray[np.uint8]:
    return render(scene_of(seed, shape), np.random.default_rng([seed, 1]))


def rho(scene: HeadScene) -> NDArray[np.float64]:
    """Distance of each pixel from the head's centre, 1 on the ellipse."""
    cx, cy, a, b, angle = scene.ellipse
    rows, columns = np.indices(scene.labels.shape, dtype=np.float64)
    turned = (columns - cx + 1j * (rows - cy)) * np.exp(-1j * angle)
    return np.asarray(np.hypot(turned.real / a, turned.imag / b))


def part(scene: HeadScene, name: str) -> NDArray[np.bool_]:
    return np.isin(scene.labels, PARTS[name])


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("hc18")
    write_hc18(root, 12, seed=3)
    return root


def pixels(path: Path) -> np.ndarray:
    """Decoded pixels of a picture, its file closed again."""
    with Image.open(path) as picture:
        return np.asarray(picture)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([(96, 96), (128, 190), (120, 100)]))
def test_head_mask_is_the_filled_ellipse_clipped_to_the_frame(seed: int, shape: tuple[int, int]) -> None:
    scene = scene_of(seed, shape)
    head, disc = part(scene, "fetal_head"), rho(scene) <= 1
    assert scene.labels.shape == shape and scene.labels.dtype == np.uint8
    assert (head & disc).sum() / (head | disc).sum() > 0.98


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_picture_is_uint8_black_where_the_scanner_shows_nothing_but_the_grey_bar(seed: int) -> None:
    scene = scene_of(seed)
    image = render(scene, np.random.default_rng([seed, 1]))
    assert image.shape == SMALL and image.dtype == np.uint8
    dark = ~part(scene, "sector")
    dark[:, : SMALL[1] // 40] = False
    assert not image[dark].any()
    assert image[part(scene, "sector")].std() > 2


def test_labels_and_parts_agree() -> None:
    assert sorted(LABELS.values()) == list(range(len(LABELS)))
    assert {label for part in PARTS.values() for label in part} == set(LABELS.values()) - {0}


def test_same_seed_same_bytes_and_other_seed_other_picture() -> None:
    assert np.array_equal(picture_of(5), picture_of(5))
    assert not np.array_equal(scene_of(5).labels, scene_of(6).labels)
    assert not np.array_equal(picture_of(5), render(scene_of(5), np.random.default_rng([6, 1])))


def test_scene_is_the_same_at_every_resolution() -> None:
    coarse, fine = scene_of(8, (135, 200)), scene_of(8, (540, 800))
    assert coarse.head_circumference_mm == fine.head_circumference_mm
    assert np.mean(coarse.labels == fine.labels[2::4, 2::4]) > 0.9


def test_decoded_pixels_are_pinned() -> None:
    digest = hashlib.sha256()
    for seed in range(6):
        digest.update(scene_of(seed).labels.tobytes() + picture_of(seed).tobytes())
    assert digest.hexdigest() == PINNED


def test_skull_is_bright_on_average_but_incomplete() -> None:
    lead, faint = [], 0
    for seed in range(20):
        scene, image = scene_of(seed), picture_of(seed).astype(float)
        distance = rho(scene)
        rows, columns = np.indices(SMALL)
        sector = ((np.arctan2(rows - scene.ellipse[1], columns - scene.ellipse[0]) + np.pi) / np.pi * 12).astype(int)
        skull, shown = part(scene, "skull"), part(scene, "sector")
        beside = shown & ((abs(distance - 0.78) < 0.06) | (abs(distance - 1.2) < 0.08))
        lead.append(image[skull].mean() - image[beside].mean())
        arcs = [(image[skull & (sector == k)], image[beside & (sector == k)]) for k in range(24)]
        faint += sum(bone.mean() <= near.mean() for bone, near in arcs if bone.size and near.size)
    assert np.mean(lead) > 15
    assert np.mean(np.array(lead) > 0) > 0.8
    assert faint > 20


def test_heads_vary_in_size_place_and_angle_and_a_few_leave_the_frame() -> None:
    scenes = [scene_of(seed, (64, 95)) for seed in range(40)]
    widths = np.array([scene.ellipse[2] * 2 / 95 for scene in scenes])
    assert widths.min() < 0.27 and widths.max() > 0.7
    assert np.std([scene.ellipse[4] for scene in scenes]) > 0.2
    heads = [part(scene, "fetal_head") for scene in scenes]
    leaving = [bool(m[0].any() or m[-1].any() or m[:, 0].any() or m[:, -1].any()) for m in heads]
    assert 1 <= sum(leaving) <= 10


def test_written_names_and_table_are_those_of_hc18(written: Path) -> None:
    names = [row[0] for row in csv.reader((written / "training_set_pixel_size_and_HC.csv").read_text().splitlines())]
    assert names[0] == "filename" and len(names) == 13
    assert "001_HC.png" in names and "005_HC.png" in names and "005_2HC.png" in names
    expected = set(names[1:]) | {name.replace(".png", "_Annotation.png") for name in names[1:]}
    assert {path.name for path in (written / "training_set").iterdir()} == expected
    header = (written / "training_set_pixel_size_and_HC.csv").read_text().splitlines()[0]
    assert header == "filename,pixel size(mm),head circumference (mm)"


def test_written_pictures_are_native_size_with_thin_outlines(written: Path) -> None:
    for path in sorted((written / "training_set").glob("*HC.png")):
        image = pixels(path)
        outline = pixels(path.with_name(path.stem + "_Annotation.png"))
        assert image.shape == (540, 800)
        assert set(np.unique(outline)) == {0, 255}
        assert 0.003 < np.mean(outline == 255) < 0.012


def test_circumference_in_the_table_is_that_of_the_ellipse(written: Path) -> None:
    rows = list(csv.DictReader((written / "training_set_pixel_size_and_HC.csv").read_text().splitlines()))
    for fetus in (1, 2, 3):
        _, _, a, b, _ = anatomy(np.random.default_rng([3, fetus])).ellipse
        circumference = ellipse_circumference(a, b) * float(rows[fetus - 1]["pixel size(mm)"])
        assert circumference == pytest.approx(float(rows[fetus - 1]["head circumference (mm)"]), abs=0.01)


def test_circumference_formula_matches_the_length_of_a_fine_polygon() -> None:
    t = np.linspace(0, 2 * np.pi, 20_001)
    length = np.hypot(np.diff(3 * np.cos(t)), np.diff(1.2 * np.sin(t))).sum()
    assert ellipse_circumference(3, 1.2) == pytest.approx(length, rel=1e-5)


def test_folder_is_the_same_for_the_same_seed(written: Path, tmp_path: Path) -> None:
    write_hc18(tmp_path, 2, seed=3)
    for name in ("001_HC.png", "002_HC_Annotation.png"):
        fresh, first = (pixels(root / "training_set" / name) for root in (tmp_path, written))
        assert np.array_equal(fresh, first)
