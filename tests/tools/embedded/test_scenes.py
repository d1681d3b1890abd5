"""Training scenes: repeatable, varied, with the organ among their regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tools.embedded import abdomen, scenes, train_clip, train_sam, view_bank

COUNTS = {"brain": 1, "head": 2, "chest": 2, "abdomen": 4, "heart": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bank")
    scenes.make_bank(folder, COUNTS, 7, 1)
    return folder


@pytest.fixture(scope="module")
def bank(folder: Path) -> scenes.Bank:
    return scenes.Bank(folder, COUNTS, 7)


def test_a_bank_is_drawn_once(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    scenes.make_bank(folder, COUNTS, 7, 1)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert len(before) == len(COUNTS)


def test_scenes_repeat_by_number_and_differ_between_numbers(folder: Path, bank: scenes.Bank) -> None:
    again = scenes.Bank(folder, COUNTS, 7)
    np.testing.assert_array_equal(bank.scene(5).picture, again.scene(5).picture)
    assert bank.scene(5).picture.tobytes() != bank.scene(6).picture.tobytes()


def test_every_kind_appears_and_phantoms_show_their_organ(bank: scenes.Bank) -> None:
    drawn = [bank.scene(index) for index in range(80)]
    assert {scene.kind for scene in drawn} == set(scenes.SHARES)
    assert all(max(scene.picture.shape) == scenes.SIDE for scene in drawn)
    assert all(region.mask.sum() >= scenes.SMALLEST_REGION for scene in drawn for region in scene.regions)
    with_organ = [any(r.organ for r in scene.regions) for scene in drawn if scene.kind != "noise"]
    assert np.mean(with_organ) > 0.8


def test_a_sample_has_prompts_inside_its_picture(bank: scenes.Bank) -> None:
    sample = train_sam.Samples(bank, 3)[1]
    assert sample.picture.shape == (256, 256)
    rows, columns = sample.shape.tolist()
    assert not sample.picture[rows:].any()
    assert not sample.picture[:, columns:].any()
    assert sample.point_targets.shape == (train_sam.POINTS, 3, 64, 64)
    assert (sample.point_targets.flatten(2).amax(2)[sample.point_weights > 0] > 0).all()
    assert (sample.box_targets.flatten(1).amax(1) > 0).all()


def test_a_candidate_is_the_organ_the_more_it_overlaps_it() -> None:
    organ = np.zeros((100, 100), bool)
    organ[20:80, 20:80] = True
    outside = scenes.Region(~organ, "outside", organ=False)
    scene = scenes.Scene(
        np.zeros((100, 100), np.uint8), "head", [scenes.Region(organ, "fetal_head", organ=True), outside]
    )

    def share(mask: np.ndarray, name: str) -> float:
        shares = train_clip.what_it_shows(mask, scene)
        assert shares.sum() == pytest.approx(1)
        return float(shares[train_clip.CLASSES.index(name)])

    half, most = organ.copy(), organ.copy()
    half[:, 50:] = False
    most[:, 68:] = False
    assert share(organ, "fetal_head") == 1
    assert 0 < share(most, "fetal_head") < 1
    assert share(half, "fetal_head_part") == 1
    assert share(np.ones_like(organ), "fetal_head_beyond") == 1
    assert share(~organ, "background") == 1


def test_a_bank_gives_no_scene_of_a_kind_that_it_does_not_hold(tmp_path: Path) -> None:
    scenes.make_bank(tmp_path, {"head": 1}, 7, 1)
    drawn = {scenes.Bank(tmp_path, {"head": 1}, 7).scene(index).kind for index in range(40)}
    assert drawn == {"head", "noise"}


def test_each_organ_of_a_trunk_is_told_from_the_others_and_only_the_one_that_is_asked_for_is_ranked(
    bank: scenes.Bank,
) -> None:
    scene = next(s for s in map(bank.scene, range(200)) if {"liver", "left_kidney"} <= {r.name for r in s.regions})
    organs = {r.name: r.mask for r in scene.regions if r.organ}
    for name, mask in organs.items():
        shares = train_clip.what_it_shows(mask, scene)
        assert shares[train_clip.CLASSES.index(train_clip.ORGAN_CLASS[name])] == 1
    assert view_bank.fits_of(organs["liver"], scene, "liver").tolist() == [1, 0]
    assert view_bank.fits_of(organs["liver"], scene, "kidney").max() < 0.7
    asked = {view_bank.organ_asked(np.random.default_rng(seed), scene) for seed in range(60)}
    assert asked == {train_clip.ORGAN_CLASS[name] for name in organs}


@pytest.mark.parametrize("kind", ["abdomen", "heart"])
def test_what_stands_in_a_drawn_slice_is_named_and_its_organs_are_seen(bank: scenes.Bank, kind: str) -> None:
    pictures, labels = bank.pairs[kind]
    named = {number for part in scenes.KINDS[kind].parts.values() for number in part}
    for picture, numbers in zip(pictures, labels, strict=True):
        assert picture.std() > 10
        organs = [np.isin(numbers, scenes.KINDS[kind].parts[name]) for name in scenes.KINDS[kind].organs]
        assert any(0.005 < organ.mean() < 0.5 for organ in organs)
        assert set(np.unique(numbers)) - {0, abdomen.LABELS["table"] if kind == "abdomen" else 0} <= named
