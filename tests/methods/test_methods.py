"""Each method makes a prediction with a status of every case, and asks the networks no more than it must."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from salip_exp.cache.store import NoStore
from salip_exp.cascade.cached_sam import SamStages
from salip_exp.cascade.embedding import embed
from salip_exp.cascade.options import VIEWS
from salip_exp.cascade.organ import segment_box
from salip_exp.cascade.work import Counters
from salip_exp.config import (
    AreaConfig,
    ClipConfig,
    Config,
    DatasetConfig,
    PromptBoxes,
    PromptConfig,
    SamConfig,
    TextConfig,
    VdtConfig,
    ViewConfig,
)
from salip_exp.data.case import Case
from salip_exp.errors import CaseError, EnvironmentFault
from salip_exp.evaluation.metrics import dice
from salip_exp.methods._registry import build_method
from salip_exp.methods.bounds import _component_boxes, _outline_boxes
from salip_exp.methods.traits import METHODS
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam

ALL = [name for name in METHODS.names if not (METHODS[name].trained or METHODS[name].clips)]
CPU = torch.device("cpu")
SENTENCES = ["a bright oval", "two dark wings"]


def config_of(method="salip", k=1, sam=None, batch=8, **parts) -> Config:
    lenient = {"points_per_side": 6, "pred_iou_thresh": 0.1, "stability_score_thresh": 0.2, "box_nms_thresh": 0.9}
    settings = lenient | (sam or {})
    return Config(
        method=method,
        dataset=DatasetConfig(name="stub", layout="folder", k=k),
        sam=SamConfig(name="stub", **settings),
        clip=ClipConfig(name="stub", batch_size=batch),
        **{"vdt": VdtConfig(name="stub")} | parts,
    )


@pytest.fixture
def build(blob_sam, random_clip):
    """A method around the stub SAM and the random CLIP."""

    def make(**settings):
        sam = LoadedSam(blob_sam, "stub", "0", CPU)
        clip = LoadedClip(random_clip, "stub", "0", CPU)
        return build_method(config_of(**settings), sam, clip, SENTENCES, NoStore())

    return make


@pytest.fixture
def case(picture):
    target = np.zeros(picture.shape[:2], bool)
    target[20:60, 10:50] = True
    target[30:70, 80:110] = True
    target[90, 3:6] = True
    return Case("case", "stub", "all", picture, target, None, "subject")


@pytest.mark.parametrize(
    "method", [each for each in METHODS.names if not (METHODS[each].trained or METHODS[each].clips)]
)
def test_every_method_gives_a_whole_prediction(build, case, method):
    prediction = build(method=method).predict(case)
    assert prediction.mask.shape == case.mask.shape
    assert prediction.mask.dtype == bool
    assert prediction.status == "ok"
    assert set(prediction.seconds) <= {"everything", "area", "views", "retrieval", "organ"}
    assert all(seconds >= 0 for seconds in prediction.seconds.values())


@pytest.mark.parametrize(("layers", "encoded", "points"), [(0, 1, 36), (1, 5, 5 * 36)])
def test_the_cascade_encodes_each_crop_box_once_and_the_text_once(build, case, layers, encoded, points):
    salip = build(sam={"crop_n_layers": layers})
    prediction = salip.predict(case)
    kept = len(prediction.kept_ids)
    once = Counters(
        encoder_calls=encoded,
        decoded_points=points,
        box_decodes=len(prediction.boxes),
        clip_image_forwards=-(-kept // 8),
        clip_images=kept,
        clip_text_forwards=2,  # what is asked for, and what else it could be
    )
    assert salip.counters == once
    salip.predict(case)
    twice = once + once
    twice.clip_text_forwards = 2
    assert salip.counters == twice


def test_salip_is_its_stages_in_order(build, case, blob_sam):
    prediction = build(k=2).predict(case)
    pool = prediction.pool
    assert len(pool) > 5
    fraction = pool.areas / case.mask.size
    np.testing.assert_array_equal(prediction.kept_ids, pool.ids[(fraction < 0.5) & (pool.areas > 0)])
    best = prediction.kept_ids[np.argsort(-prediction.kept_scores, kind="stable")]
    assert prediction.selected_ids[0] == best[0]
    assert prediction.selected_scores == sorted(prediction.selected_scores, reverse=True)
    np.testing.assert_array_equal(prediction.boxes, pool.boxes[prediction.selected_ids])
    embedding = embed(blob_sam, case.image, Counters())[0]
    masks = [segment_box(blob_sam, embedding, box, config_of().organ, Counters()) for box in prediction.boxes]
    np.testing.assert_array_equal(prediction.mask, np.any(masks, axis=0))


def test_sam_clip_unites_what_salip_retrieves(build, case):
    salip = build(k=2).predict(case)
    united = build(method="sam_clip", k=2).predict(case)
    assert united.selected_ids == salip.selected_ids
    np.testing.assert_array_equal(united.mask, salip.pool.masks.dense()[salip.selected_ids].any(axis=0))


@pytest.mark.parametrize("kind", VIEWS.names)
@pytest.mark.parametrize("batch", [1, 1000])
def test_batches_of_views_do_not_change_the_choice(build, case, kind, batch):
    whole = build(view=ViewConfig(kind=kind))
    parts = build(view=ViewConfig(kind=kind), batch=batch)
    first, second = whole.predict(case), parts.predict(case)
    np.testing.assert_allclose(first.kept_scores, second.kept_scores, atol=1e-5)
    assert first.selected_ids == second.selected_ids


@pytest.mark.parametrize("method", ["salip", "sam_clip"])
@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"sam": {"pred_iou_thresh": 1.0}}, "no_masks"),
        ({"sam": {"pred_iou_thresh": 1.0, "crop_n_layers": 1}}, "no_masks"),
        ({"area": AreaConfig(threshold=0.0)}, "all_filtered"),
    ],
)
@pytest.mark.fault("P1", "P2")
def test_without_candidates_the_mask_is_empty_and_says_why(build, case, method, settings, status):
    made = build(method=method, **settings)
    prediction = made.predict(case)
    assert prediction.status == status
    assert prediction.mask.shape == case.mask.shape
    assert not prediction.mask.any()
    assert prediction.boxes.shape == (0, 4)
    assert list(prediction.selected_ids) == list(prediction.selected_scores) == []
    assert made.counters.box_decodes == made.counters.clip_images == 0


def given_pool(monkeypatch, pool):
    monkeypatch.setattr(SamStages, "pool", lambda *_: pool)


def blocks(*boxes):
    masks = np.zeros((len(boxes), 96, 128), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return masks


A, B, LINE = (5, 5, 30, 40), (60, 20, 90, 80), (50, 10, 50, 60)


@pytest.mark.fault("P4")
def test_fewer_candidates_than_rois_is_k_short(build, case, make_pool, monkeypatch):
    given_pool(monkeypatch, make_pool(blocks(A)))
    prediction = build(k=2).predict(case)
    assert prediction.status == "k_short"
    assert prediction.selected_ids == [0]
    assert prediction.mask.shape == (96, 128)
    assert prediction.mask.any()


@pytest.mark.fault("P4")
def test_duplicates_of_one_roi_are_k_short_unless_allowed(build, case, make_pool, monkeypatch):
    given_pool(monkeypatch, make_pool(blocks(A, (5, 5, 30, 41))))
    assert build(k=2).predict(case).status == "k_short"
    config = config_of(k=2).retrieval
    config.max_overlap = 1.0
    assert build(k=2, retrieval=config).predict(case).status == "ok"


@pytest.mark.fault("P3", "P6")
def test_a_retrieved_line_never_prompts_sam(build, case, make_pool, monkeypatch):
    given_pool(monkeypatch, make_pool(blocks(LINE)))
    method = build()
    prediction = method.predict(case)
    assert prediction.status == "zero_box"
    assert prediction.boxes.tolist() == [list(LINE)]
    assert method.counters.box_decodes == 0
    assert not prediction.mask.any()


@pytest.mark.parametrize("order", list(itertools.permutations([A, B, LINE])))
@pytest.mark.fault("P3")
def test_masks_without_extent_keep_crops_and_masks_paired(build, case, make_pool, monkeypatch, order):
    given_pool(monkeypatch, make_pool(blocks(*order)))
    prediction = build(k=2, view=ViewConfig(inclusive=False)).predict(case)
    assert prediction.status == "ok"
    assert {order[i] for i in prediction.selected_ids} == {A, B}
    assert order.index(LINE) not in prediction.kept_ids
    for i, box in zip(prediction.selected_ids, prediction.boxes, strict=True):
        assert tuple(box) == order[i]
    alone = dict(zip(prediction.kept_ids.tolist(), prediction.kept_scores.tolist(), strict=True))
    given_pool(monkeypatch, make_pool(blocks(A, B)))
    expected = build(k=2, view=ViewConfig(inclusive=False)).predict(case).kept_scores
    np.testing.assert_allclose([alone[order.index(A)], alone[order.index(B)]], expected, atol=1e-6)


PARTS = {"right": TextConfig("right", ["a bright oval"]), "left": TextConfig("left", ["two dark wings"])}


def test_separate_texts_retrieve_one_candidate_each(build, case):
    alone = [build(vdt=VdtConfig("stub", parts={name: text})).predict(case) for name, text in PARTS.items()]
    method = build(k=2, vdt=VdtConfig("stub", parts=PARTS))
    both = method.predict(case)
    assert set(both.selected_ids) == {each.selected_ids[0] for each in alone}
    assert len(both.selected_ids) == len(set(both.selected_ids))
    assert both.status == ("ok" if len(both.selected_ids) == 2 else "k_short")
    np.testing.assert_array_equal(both.kept_scores, np.maximum(alone[0].kept_scores, alone[1].kept_scores))
    assert both.selected_scores == sorted(both.selected_scores, reverse=True)
    np.testing.assert_array_equal(both.mask, alone[0].mask | alone[1].mask)
    assert method.counters.clip_images == len(both.kept_ids)  # a view is embedded once, whatever it is compared with
    assert method.counters.clip_text_forwards == 3  # one for each text, and one for what else it could be


def test_two_texts_that_want_the_same_candidate_take_it_once(build, case, make_pool, monkeypatch):
    given_pool(monkeypatch, make_pool(blocks(A)))
    prediction = build(k=2, vdt=VdtConfig("stub", parts=PARTS)).predict(case)
    assert prediction.status == "k_short"
    assert prediction.selected_ids == [0]
    given_pool(monkeypatch, make_pool(blocks()))
    assert build(k=2, vdt=VdtConfig("stub", parts=PARTS)).predict(case).status == "no_masks"


@pytest.mark.fault("P7")
def test_gt_sam_prompts_with_every_component_but_specks(build, case, blob_sam):
    method = build(method="gt_sam")
    prediction = method.predict(case)
    assert sorted(prediction.boxes.tolist()) == [[10, 20, 49, 59], [80, 30, 109, 69]]
    embedding = embed(blob_sam, case.image, Counters())[0]
    masks = [segment_box(blob_sam, embedding, box, config_of().organ, Counters()) for box in prediction.boxes]
    np.testing.assert_array_equal(prediction.mask, np.any(masks, axis=0))
    assert method.counters == Counters(encoder_calls=1, box_decodes=2)


def test_gt_sam_tells_organs_that_touch_apart_where_that_prompts_better(build, picture, blob_sam):
    left, right = (20, 20, 63, 80), (64, 10, 100, 80)
    target = blocks(left, right).any(axis=0)
    target[2, 2] = True  # a speck is no second organ
    case = Case("c", "stub", "all", picture, target, None, "s")
    embedding = embed(blob_sam, picture, Counters())[0]

    def union(*boxes):
        masks = [segment_box(blob_sam, embedding, np.float32(each), config_of().organ, Counters()) for each in boxes]
        return np.any(masks, axis=0)

    found = {((20, 10, 100, 80),): union((20, 10, 100, 80)), (left, right): union(left, right)}
    best = max(found, key=lambda boxes: dice(found[boxes], target))
    prediction = build(method="gt_sam", k=2).predict(case)
    assert [tuple(map(int, box)) for box in prediction.boxes] == list(best)
    np.testing.assert_array_equal(prediction.mask, found[best])
    assert len(build(method="gt_sam").predict(case).boxes) == 1, "with k = 1 it is one organ"
    authors = build(method="gt_sam", k=2, prompt=PromptConfig(boxes=PromptBoxes.outlines)).predict(case)
    assert authors.boxes.tolist() == [[20, 10, 100, 80]]


@pytest.mark.parametrize(
    ("area", "drawn", "status"),
    [(10, None, "no_masks"), (50, (0, 0, 4, 4), "all_filtered"), (10, (3, 5, 3, 60), "zero_box")],
)
@pytest.mark.fault("P7")
def test_gt_sam_without_a_usable_box_does_not_ask_sam(build, picture, area, drawn, status):
    target = np.zeros((96, 128), bool) if drawn is None else blocks(drawn)[0]
    method = build(method="gt_sam", prompt=PromptConfig(area))
    prediction = method.predict(Case("c", "stub", "all", picture, target, None, "s"))
    assert prediction.status == status
    assert not prediction.mask.any()
    assert method.counters == Counters()


def test_gt_sam_needs_a_target(build, picture):
    with pytest.raises(CaseError, match="gt_sam"):
        build(method="gt_sam").predict(Case("c", "stub", "all", picture, None, None, "s"))


def test_diagonal_pixels_are_one_component():
    assert _component_boxes(np.eye(12, dtype=bool), 10).tolist() == [[0, 0, 11, 11]]


def test_outlines_have_boxes_where_they_enclose_something():
    touched = np.zeros((30, 40), bool)
    touched[2:7, 20:25] = True
    touched[12:27, 3:18] = True
    touched[15:24, 6:15] = False
    touched[18:21, 9:12] = True  # in the hole of the ring
    touched[1, 1] = touched[10, 20:30] = True  # a point and a line
    assert _outline_boxes(touched).tolist() == [[3, 12, 17, 26], [20, 2, 24, 6]]
    assert _outline_boxes(np.zeros((4, 4), bool)).shape == (0, 4)


def test_gt_sam_is_prompted_by_what_the_resized_mask_touches(build, picture):
    target, touched = blocks((10, 10, 30, 30))[0], blocks((9, 9, 32, 32))[0]
    case = Case("c", "stub", "all", picture, target, None, "s", touched=touched)
    found = {
        boxes: build(method="gt_sam", prompt=PromptConfig(boxes=boxes)).predict(case).boxes.tolist()
        for boxes in PromptBoxes
    }
    assert found[PromptBoxes.target] == _component_boxes(target, 1).tolist()
    assert found[PromptBoxes.outlines] == _component_boxes(touched, 1).tolist()


def test_networks_are_asked_for_only_where_needed(build, blob_sam):
    with pytest.raises(EnvironmentFault, match="must say sam=True"):
        build_method(config_of(), None, None, SENTENCES, NoStore())
    with pytest.raises(EnvironmentFault, match="must say clip=True"):
        build_method(config_of(), LoadedSam(blob_sam, "stub", "0", CPU), None, SENTENCES, NoStore())
