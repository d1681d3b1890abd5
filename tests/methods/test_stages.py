"""No network is asked twice: within a run, over trials and ablations, in another process; and answers stay the same."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from salip_exp.cache.store import MemoryStore, NoStore, open_store
from salip_exp.cascade.cached_sam import Picture, SamStages
from salip_exp.cascade.organ import Hint
from salip_exp.cascade.work import Counters
from salip_exp.config import (
    AreaConfig,
    AreaUnit,
    CacheConfig,
    CacheMode,
    ClipConfig,
    Config,
    DatasetConfig,
    OrganConfig,
    SamConfig,
    VdtConfig,
    ViewConfig,
)
from salip_exp.data.case import Case
from salip_exp.evaluation._confidence import _TONES, SIGNALS, signals
from salip_exp.methods._registry import build_method
from salip_exp.methods.traits import METHODS
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam

ALL = [name for name in METHODS.names if not (METHODS[name].trained or METHODS[name].clips)]
CPU = torch.device("cpu")
SENTENCES = ["a bright oval", "two dark wings"]
WORKER = Path(__file__).with_name("sweep_worker.py")
LENIENT = {"points_per_side": 6, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.2, "box_nms_thresh": 0.9}


def config_of(method="salip", sam=None, **parts) -> Config:
    return Config(
        method=method,
        dataset=DatasetConfig(name="stub", layout="folder", k=2),
        sam=SamConfig(name="stub", **(LENIENT | (sam or {}))),
        clip=ClipConfig(name="stub"),
        vdt=VdtConfig(name="stub"),
        **parts,
    )


@pytest.fixture
def loaded(blob_sam, random_clip):
    return LoadedSam(blob_sam, "stub", "0", CPU), LoadedClip(random_clip, "stub", "1", CPU)


@pytest.fixture
def cases() -> list[Case]:
    """Five images of one size with a target each."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (5, 6, 8, 3)).astype(np.uint8)
    target = np.zeros((96, 128), bool)
    target[20:60, 10:50] = True
    images = [np.kron(each, np.ones((16, 16, 1), np.uint8)) for each in coarse]
    return [Case(str(i), "stub", "all", image, target, None, "s") for i, image in enumerate(images)]


def work(loaded, config, store, cases, sentences=SENTENCES):
    """Predictions of a method built anew, and what the networks had to do for it."""
    method = build_method(config, *loaded, sentences, store)
    return [method.predict(case) for case in cases], method.counters


def assert_same(ours, theirs):
    for mine, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(mine.mask, other.mask)
        np.testing.assert_array_equal(mine.kept_scores, other.kept_scores)
        assert (mine.status, mine.selected_ids) == (other.status, other.selected_ids)


@pytest.mark.parametrize(
    "method", [each for each in METHODS.names if not (METHODS[each].trained or METHODS[each].clips)]
)
@pytest.mark.parametrize("layers", [0, 1])
def test_a_second_run_asks_no_network_and_answers_the_same(loaded, cases, tmp_path, method, layers):
    config = config_of(method, {"crop_n_layers": layers, "min_mask_region_area": 40})
    plain, needed = work(loaded, config, NoStore(), cases)
    store = open_store(CacheConfig(folder=str(tmp_path)))
    first, counted = work(loaded, config, store, cases)
    again = open_store(CacheConfig(folder=str(tmp_path)))  # as another process sees it: nothing in memory
    second, none = work(loaded, config, again, cases)
    if method.startswith("lsg_sam"):  # several of its steps ask about one box, which is kept after the first
        assert counted.box_decodes <= needed.box_decodes
        needed = replace(needed, box_decodes=counted.box_decodes)
    assert counted == needed
    assert none == Counters()
    assert_same(first, plain)
    assert_same(second, plain)


def test_what_repair_asks_is_kept_and_told_apart(loaded, cases):
    """Boxes with a point, with a mask and alone are three questions, each asked once; so is another grid."""
    stages = SamStages(loaded[0], MemoryStore(2**28), Counters())
    picture, box = Picture(cases[0].image), np.float32([[10, 12, 60, 70], [0, 0, 0, 0]])
    asked = [None, [Hint(np.float32([[30, 30, 1]]))] * 2, [Hint(mask=cases[0].mask)] * 2]
    first, again = ([stages.organs(picture, box, OrganConfig(), hints) for hints in asked] for _ in range(2))
    assert stages.counters.box_decodes == 3
    assert len({each.digests[0].tobytes() for each in first}) > 1, "a hint is heard"
    assert not any(each[1].any() for each in first), "a box without extent has none"
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.dense(), other.dense())
    method = build_method(config_of(), *loaded, SENTENCES, MemoryStore(2**28))
    finer = replace(config_of().sam, points_per_side=12)
    found = method.predict(cases[0]).again(finer)
    assert len(found.pool) > len(method.predict(cases[0]).pool)
    assert_same([found], work(loaded, replace(config_of(), sam=finer), NoStore(), cases[:1])[0])
    before = method.counters.to_dict()
    method.predict(cases[0]).again(finer)
    assert method.counters.to_dict() == before


def test_an_ensemble_encodes_two_images_more_and_asks_the_boxes_that_it_says(loaded, cases):
    config = config_of()
    method = build_method(config, *loaded, SENTENCES, MemoryStore(2**28))
    found = method.predict(cases[0])
    before = method.counters.to_dict()
    told = signals(found, 2, ["ensemble"])["ensemble"]
    spent = {name: n - before[name] for name, n in method.counters.to_dict().items() if n != before[name]}
    asked = spent.pop("box_decodes")
    assert spent == {"encoder_calls": len(_TONES)}
    most = SIGNALS["ensemble"].decodes * len(found.boxes)
    assert len(_TONES) * len(found.boxes) < asked <= most + len(SENTENCES) * 2  # a box that is asked twice is kept
    before = method.counters.to_dict()
    assert signals(found, 2, ["ensemble"])["ensemble"] == told and method.counters.to_dict() == before
    inverted = found.retouched(lambda image: 255 - image)(found.boxes).dense().any(axis=0)
    picture = Picture(255 - cases[0].image)
    np.testing.assert_array_equal(inverted, method.sam.organ(picture, found.boxes, config.organ))


def test_an_ablation_computes_what_it_changes_and_nothing_before(loaded, cases):
    store = MemoryStore(2**28)
    default, _ = work(loaded, config_of(), store, cases)
    seen = {"clip_images", "clip_image_forwards", "box_decodes"}
    for config, sentences, changed in [
        (config_of(area=AreaConfig(enabled=False)), SENTENCES, seen),
        (config_of("sam_clip"), SENTENCES, set()),
        (config_of(), ["something else"], {"clip_text_forwards", "box_decodes"}),
        (
            config_of(view=ViewConfig(kind="box")),
            SENTENCES,
            {"clip_images", "clip_image_forwards", "box_decodes"},
        ),
        (config_of(organ=OrganConfig(threshold=0.5)), SENTENCES, {"box_decodes"}),
        (config_of("gt_sam"), SENTENCES, {"box_decodes"}),
        (config_of(sam={"pred_iou_thresh": 0.3}), SENTENCES, seen),
    ]:
        plain, _ = work(loaded, config, NoStore(), cases, sentences)
        got, counters = work(loaded, config, store, cases, sentences)
        assert {name for name, count in counters.to_dict().items() if count} <= changed
        assert_same(got, plain)
    view_changed = work(loaded, config_of(view=ViewConfig(kind="contour")), store, cases)[1]
    assert view_changed.clip_images == sum(len(each.kept_ids) for each in default)


def authors_trials(n: int) -> list[Config]:
    """Random trials of the authors' search space, on images of 96 x 128."""
    rng = np.random.default_rng(1234)
    return [
        config_of(
            sam={
                "points_per_side": int(rng.choice([4, 8, 16])),
                "pred_iou_thresh": float(rng.choice([0.2, 0.5, 0.8])),
                "stability_score_thresh": float(rng.choice([0.2, 0.5, 0.8])),
                "box_nms_thresh": float(rng.choice([0.7, 0.8, 0.9])),
                "crop_nms_thresh": float(rng.choice([0.7, 0.8, 0.9])),
                "crop_n_layers": 1,
                "crop_n_points_downscale_factor": 2,
                "min_mask_region_area": 40,
            },
            area=AreaConfig(threshold=float(rng.choice([3700, 7500, 9400])), unit=AreaUnit.pixels),
        )
        for _ in range(n)
    ]


@pytest.mark.ci
def test_a_sweep_of_100_trials_over_five_images_encodes_25_times_and_decodes_each_grid_once(loaded, cases, tmp_path):
    trials = authors_trials(100)
    store = open_store(CacheConfig(folder=str(tmp_path)))
    total, views = Counters(), set()
    for number, config in enumerate(trials):
        predictions, counters = work(loaded, config, store, cases)
        total = total + counters
        for case, each in zip(cases, predictions, strict=True):
            kept = each.pool.select(each.kept_ids)
            views |= {
                (case.case_id, row.tobytes(), box.tobytes())
                for row, box in zip(kept.masks.digests, kept.boxes, strict=True)
            }
        if number in (3, 50, 99):
            assert_same(predictions, work(loaded, config, NoStore(), cases)[0])
    assert total.encoder_calls == 25
    assert total.decoded_points <= 5 * 672
    assert total.clip_images == len(views)
    assert total.clip_text_forwards == 2  # what is asked for, and what else it could be
    rerun = [work(loaded, config, open_store(CacheConfig(folder=str(tmp_path))), cases)[1] for config in trials[:5]]
    assert rerun == [Counters()] * 5


@pytest.mark.ci
def test_four_processes_on_one_cache_share_the_work_and_a_fifth_has_none(tmp_path):
    def start(seed: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(WORKER), str(tmp_path), str(seed)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def ended(process: subprocess.Popen[str]) -> dict[str, int]:
        out, err = process.communicate()
        assert process.returncode == 0, err
        return json.loads(out)

    together = [ended(process) for process in [start(seed) for seed in range(4)]]
    assert sum(each["encoder_calls"] for each in together) == 25
    assert sum(each["decoded_points"] for each in together) == 5 * (4 + 4 * 1 + 16 + 4 * 4)
    assert ended(start(9))["encoder_calls"] == ended(start(10))["decoded_points"] == 0


def test_networks_that_compute_otherwise_share_nothing(loaded, cases):
    store = MemoryStore(2**28)
    picture = Picture(cases[0].image)
    sam = loaded[0]
    for other in (sam, replace(sam, sha256="9"), replace(sam, arithmetic="float32, bf16")):
        counters = Counters()
        SamStages(other, store, counters).pool(picture, config_of().sam)
        assert counters.encoder_calls == 1


OTHERWISE = {
    "points_per_side": 5,
    "points_per_batch": 7,
    "stability_score_offset": 0.5,
    "crop_n_layers": 1,
    "crop_overlap_ratio": 0.2,
    "crop_n_points_downscale_factor": 2,
    "pred_iou_thresh": 0.4,
    "stability_score_thresh": 0.6,
    "box_nms_thresh": 0.5,
    "crop_nms_thresh": 0.5,
    "min_mask_region_area": 9,
}


def test_every_setting_of_the_generator_is_tried_below():
    assert {each.name for each in fields(SamConfig)} - set(OTHERWISE) == {"name", "weights", "sha256"}


@pytest.mark.parametrize("name", list(OTHERWISE))
def test_thresholds_are_no_part_of_the_table(loaded, cases, name):
    """What selects among rows decodes nothing anew; what decides the rows does."""
    store, picture, counters = MemoryStore(2**28), Picture(cases[0].image), Counters()
    stages = SamStages(loaded[0], store, counters)
    stages.pool(picture, config_of(sam={"crop_n_layers": 0}).sam)
    before = counters.to_dict()
    stages.pool(picture, config_of(sam={name: OTHERWISE[name]}).sam)
    decides = {"points_per_side", "points_per_batch", "stability_score_offset", "crop_n_layers"}
    assert (counters.to_dict() != before) == (name in decides)


def test_the_cache_can_be_left_out_and_only_then_rows_below_the_thresholds_are_not_measured(loaded, cases):
    assert isinstance(open_store(CacheConfig(mode=CacheMode.off)), NoStore)
    config = config_of(sam={"pred_iou_thresh": 0.6})
    with_store, without = (work(loaded, config, store, cases) for store in (MemoryStore(2**28), NoStore()))
    assert_same(with_store[0], without[0])
