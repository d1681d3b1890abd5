"""Strips show the cascade of the cases that their rule names, and ask no network for what the cache holds."""

from __future__ import annotations

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from salip_exp._reports.overlays import BOX, PREDICTION, TARGET
from salip_exp._reports.strips import (
    GAP,
    LINE_HEIGHT,
    LONG_SIDE,
    TILE,
    as_seen,
    choose_strips,
    draw_strip,
    shown_views,
    write_strips,
)
from salip_exp._runs.folder import read_pictures
from salip_exp._runs.records import CaseRecord, fingerprint
from salip_exp.cache.store import MemoryStore
from salip_exp.cascade.retrieval import preprocess
from salip_exp.cascade.views import views
from salip_exp.cascade.work import Counters
from salip_exp.config import ClipConfig, Config, DatasetConfig, SamConfig, VdtConfig, ViewConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.methods._registry import build_method
from salip_exp.methods.base import Prediction, Status
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam

CPU = torch.device("cpu")


def record(name: str, dsc: float | None = None, failure: str | None = None, **changes) -> CaseRecord:
    values = {"scores": {"dsc": dsc}, "failure": failure, "n_pool": 3} | changes
    return CaseRecord("", "", name, "stub", "all", None, None, "salip", values.pop("status", "ok"), **values)


def config_of(method="salip", k=1, **changes) -> Config:
    lenient = {"points_per_side": 6, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.2, "box_nms_thresh": 0.9}
    return Config(
        method=method,
        dataset=DatasetConfig(name="stub", layout="folder", k=k),
        sam=SamConfig(name="stub", **lenient),
        clip=ClipConfig(name="stub"),
        vdt=VdtConfig(name="stub"),
        **changes,
    )


def scored(case: Case, *told, **more) -> CaseRecord:
    """The record of a case as it is."""
    return replace(record(case.case_id, *told, **more), fingerprint=fingerprint(case))


def case_of(image: np.ndarray, name: str = "case") -> Case:
    target = np.zeros(image.shape[:2], bool)
    target[image.shape[0] // 4 : image.shape[0] // 2, image.shape[1] // 4 : image.shape[1] // 2] = True
    return Case(name, "stub", "all", image, target, None, name)


def ref_of(case: Case) -> CaseRef:
    return CaseRef(case.case_id, case.group, case.subject, lambda: case)


@pytest.fixture
def method(blob_sam, random_clip):
    """SaLIP around the stub SAM and the random CLIP, with a warm memory for those who ask twice."""

    def make(config: Config):
        sam = LoadedSam(blob_sam, "stub", "0", CPU)
        clip = LoadedClip(random_clip, "stub", "0", CPU)
        return build_method(config, sam, clip, ["a bright oval"], MemoryStore(1 << 28))

    return make


def prediction_of(pool, kept, selected, scores=None) -> Prediction:
    scores = np.linspace(0.5, 0.1, len(kept)) if scores is None else np.asarray(scores)
    chosen = [int(each) for each in selected]
    mask = np.zeros(pool.masks.shape, bool)
    if chosen:
        mask |= pool.masks[chosen[0]]
    return Prediction(
        mask=mask,
        status=Status.ok,
        pool=pool,
        kept_ids=np.array(kept, np.int64),
        kept_scores=scores.astype(np.float32),
        selected_ids=chosen,
        selected_scores=[0.5] * len(chosen),
        boxes=pool.boxes[chosen],
    )


def squares(n: int, shape: tuple[int, int]) -> np.ndarray:
    masks = np.zeros((n, *shape), bool)
    for i, mask in enumerate(masks):
        mask[2 + i : 6 + 2 * i, 3 : 9 + i] = True
    return masks


def test_worst_median_best_and_every_failure_class_are_chosen_each_once():
    records = [
        record("a", 0.9, "none"),
        record("b", 0.1, "sam"),
        record("c", 0.3, "clip"),
        record("d", 0.2, "clip"),
        record("e", 0.95, "none"),
        record("f", 0.4, "prompt"),
        record("g", 0.4, "prompt"),
        record("h", 0.8, "none"),
    ]
    chosen = [(rule, each.case_id) for rule, each in choose_strips(records, 1)]
    assert chosen == [("worst", "b"), ("median", "f"), ("best", "e"), ("clip", "d")]
    more = [record("i", 0.6, "none"), record("j", 0.7, "none"), record("k", 0.75, "none")]
    chosen = [(rule, each.case_id) for rule, each in choose_strips([*records, *more], 1)]
    assert chosen == [("worst", "b"), ("median", "i"), ("best", "e"), ("clip", "d"), ("prompt", "f")]


def test_cases_without_a_pool_are_not_chosen_and_those_without_a_score_are():
    assert choose_strips([record("a", 0.5, n_pool=None), record("b", n_pool=None, status="failed(E_READ)")], 1) == []
    assert {each.case_id for _, each in choose_strips([record("a"), record("b")], 1)} == {"a", "b"}


def test_strips_ask_no_network_for_what_the_cache_holds_and_say_what_they_are(method, picture, tmp_path):
    config = config_of(k=2)
    salip, case = method(config), case_of(picture)
    first = salip.predict(case)
    before = replace(salip.counters)
    records = [scored(case, 0.7, "clip", n_pool=len(first.pool))]
    entries = write_strips(tmp_path, [ref_of(case)], records, salip, config, {})
    assert salip.counters == before != Counters()
    assert entries == [
        {
            "file": "figures/strip_case.png",
            "rule": "worst",
            "case_id": "case",
            "group": "all",
            "dsc": 0.7,
            "failure": "clip",
        }
    ]
    with Image.open(tmp_path / "figures/strip_case.png") as strip:
        strip.load()
        assert strip.format == "PNG" and strip.mode == "RGB"
        assert 6 * LONG_SIDE < strip.width < 8 * LONG_SIDE


@pytest.mark.parametrize("changes", [{"figures": "none"}, {"method": "gt_sam"}])
def test_without_pictures_or_without_a_pool_there_is_no_strip(method, picture, tmp_path, changes):
    config = config_of(**changes)
    case = case_of(picture)
    pool = 3 if config.method == "salip" else None
    assert write_strips(tmp_path, [ref_of(case)], [scored(case, 0.7, n_pool=pool)], method(config), config, {}) == []
    assert not list(tmp_path.iterdir())


def test_a_strip_that_cannot_be_drawn_costs_the_run_nothing(make_pool, picture, tmp_path, caplog):
    class Broken:
        counters = Counters()

        def predict(self, case: Case) -> Prediction:
            if case.case_id == "a":
                raise RuntimeError("out of memory")
            return prediction_of(pool, [0, 1], [0])

    pool = make_pool(squares(2, picture.shape[:2]))
    a, b = (case_of(picture, name) for name in ("a", "b"))
    records, undrawn = [scored(a, 0.1), scored(b, 0.9)], {}
    with caplog.at_level(logging.ERROR):
        entries = write_strips(tmp_path, [ref_of(a), ref_of(b)], records, Broken(), config_of(), undrawn)
    assert [entry["case_id"] for entry in entries] == ["b"]
    assert undrawn == {"a": "RuntimeError: out of memory"}
    assert "no strip of case a" in caplog.text


def panel(strip: Image.Image, number: int) -> np.ndarray:
    """Pixels of one of the first panels, or of one counted from the end, where panels are LONG_SIDE wide."""
    x = GAP + number * (LONG_SIDE + GAP) if number >= 0 else strip.width + number * (LONG_SIDE + GAP)
    top = LINE_HEIGHT + GAP
    return np.asarray(strip)[top:-top, x : x + LONG_SIDE]


def has(pixels: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((pixels == color).all(axis=2).any())


def test_panels_show_image_pool_box_and_outcome(make_pool, picture):
    case, pool = case_of(picture), make_pool(squares(3, picture.shape[:2]))
    strip = draw_strip(case, prediction_of(pool, [0, 1], [1]), record("case", 0.5, "clip"), config_of())
    image, everything, filtered = (panel(strip, number) for number in range(3))
    assert (image != everything).any() and (everything != filtered).any()
    assert has(panel(strip, -2), BOX) and not has(panel(strip, 0), BOX)
    assert has(panel(strip, -1), TARGET) and has(panel(strip, -1), PREDICTION)
    without = draw_strip(replace(case, mask=None), prediction_of(pool, [0], [0]), record("case"), config_of("sam_clip"))
    assert not has(panel(without, -1), TARGET)
    assert without.width == strip.width - LONG_SIDE - GAP


def test_views_are_those_that_clip_saw_the_retrieved_ones_among_the_best(make_pool, picture):
    pool = make_pool(squares(9, picture.shape[:2]))
    scores = [0.1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    prediction = prediction_of(pool, list(range(9)), [1, 8], scores)
    shown = shown_views(picture, pool, prediction, ViewConfig())
    assert [view.id for view in shown] == [1, 2, 3, 4, 5, 8]
    assert [view.id for view in shown if view.retrieved] == [1, 8]
    seen = preprocess(views(picture, pool, ViewConfig())[2], TILE, ViewConfig().fit)
    again = preprocess(shown[1].pixels, TILE, ViewConfig().fit)
    torch.testing.assert_close(again, seen, atol=0.5 / 255 / 0.26, rtol=0)
    assert shown[1].pixels.shape == (TILE, TILE, 3)


def test_a_view_with_a_long_side_is_padded_or_cut_as_clip_sees_it():
    bright = np.full((10, 40, 3), 200, np.uint8)
    padded = as_seen(bright, ViewConfig(), TILE)
    cut = as_seen(bright, ViewConfig(fit="center_crop"), TILE)
    assert (padded[0] == 0).all() and (padded[TILE // 2] == 200).all()
    assert (cut == 200).all()


def test_what_the_oracle_keeps_and_no_view_can_show_is_passed_over(make_pool, picture):
    masks = squares(2, picture.shape[:2])
    masks[0] = False
    masks[0, 5:9, 5] = True
    shown = shown_views(
        picture, make_pool(masks), prediction_of(make_pool(masks), [0, 1], [0]), ViewConfig(inclusive=False)
    )
    assert [view.id for view in shown] == [1]


@pytest.mark.parametrize("shape", [(96, 128), (700, 31), (5, 400), (12, 12)])
@pytest.mark.parametrize("k", [1, 2])
def test_any_shape_can_be_drawn(make_pool, shape, k):
    image = np.full((*shape, 3), 90, np.uint8)
    masks = np.zeros((3, *shape), bool)
    for i, mask in enumerate(masks):
        mask[i : i + 3, : 4 + i] = True
    pool = make_pool(masks)
    strip = draw_strip(
        case_of(image), prediction_of(pool, [0, 2], [0, 2][:k]), record("ü<b>\udcff", 0.5), config_of(k=k)
    )
    assert strip.height <= LONG_SIDE + 4 * LINE_HEIGHT


@pytest.mark.parametrize("kept", [0, 2])
def test_an_empty_pool_and_one_that_the_filter_emptied_can_be_drawn(make_pool, picture, kept):
    pool = make_pool(squares(kept, picture.shape[:2]))
    empty = prediction_of(pool, [], [])
    strip = draw_strip(case_of(picture), empty, record("case", 0.0, status="all_filtered"), config_of())
    assert not has(panel(strip, -2), BOX)
    assert has(panel(strip, -1), TARGET) and not has(panel(strip, -1), PREDICTION)


def test_the_run_counts_no_work_of_its_pictures(fakes, tmp_path):
    method = fakes.Threshold()
    assert fakes.run_fake(tmp_path / "run", method=method) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    strips = read_pictures(tmp_path / "run")["strips"]
    assert len(strips) == 3 == len(method.seen) - fakes.N
    assert manifest["counters"]["encoder_calls"] == fakes.N
    assert all((tmp_path / "run" / entry["file"]).is_file() for entry in strips)
    assert "results" in manifest["stages"]
