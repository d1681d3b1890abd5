"""The oracle takes what the target would choose, and is lost where the pool, the filter or the box is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from salip_exp.cache.store import NoStore
from salip_exp.cascade.cached_sam import SamStages
from salip_exp.cascade.embedding import embed
from salip_exp.cascade.organ import segment_box
from salip_exp.cascade.work import Counters
from salip_exp.config import AreaConfig, ClipConfig, Config, DatasetConfig, SamConfig, VdtConfig
from salip_exp.data.case import Case
from salip_exp.errors import CaseError
from salip_exp.evaluation.attribution import attribute
from salip_exp.evaluation.metrics import iou
from salip_exp.methods.bounds import best_rows
from salip_exp.methods.registry import build_method
from salip_exp.methods.traits import METHODS
from salip_exp.networks.sam import LoadedSam

SHAPE = (96, 128)


def blocks(*boxes) -> np.ndarray:
    masks = np.zeros((len(boxes), *SHAPE), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return masks


RIGHT, LEFT = (5, 5, 30, 80), (60, 10, 90, 85)
NEARLY, ROUGHLY, WHOLE, LINE = (5, 5, 30, 78), (60, 10, 90, 60), (0, 0, 127, 95), (60, 10, 60, 60)
FAR = (100, 88, 120, 94)


@pytest.fixture
def oracle(blob_sam, picture, make_pool, monkeypatch):
    """The prediction of the oracle for a pool and a target of blocks, and the method that made it."""

    def predict(pool, target, k=1, **parts):
        monkeypatch.setattr(SamStages, "pool", lambda *_: make_pool(blocks(*pool)))
        config = Config(
            method="oracle",
            dataset=DatasetConfig(name="stub", layout="folder", k=k),
            sam=SamConfig(name="stub"),
            clip=ClipConfig(name="stub"),
            vdt=VdtConfig(name="stub"),
            **parts,
        )
        method = build_method(config, LoadedSam(blob_sam, "stub", "0", torch.device("cpu")), None, [], NoStore())
        mask = None if target is None else blocks(*target).any(axis=0)
        return method.predict(Case("case", "stub", "all", picture, mask, None, "s")), method

    return predict


def prompted(net, picture, *boxes) -> np.ndarray:
    embedding = embed(net, picture, Counters())[0]
    return np.stack([segment_box(net, embedding, np.float32(box), Config().organ, Counters()) for box in boxes])


def test_it_takes_the_candidates_whose_boxes_prompt_the_best_masks(oracle, blob_sam, picture):
    pool = [ROUGHLY, WHOLE, NEARLY, FAR]
    prediction, method = oracle(pool, [RIGHT, LEFT], k=2, area=AreaConfig(enabled=False))
    masks, rois = prompted(blob_sam, picture, *pool), blocks(RIGHT, LEFT)
    ious = np.array([[iou(mask, roi) for mask in masks] for roi in rois])
    allowed = np.array([[0, 1, 1, 0], [1, 1, 0, 0]]) > 0  # what overlaps a region
    best = np.where(allowed, ious, -1).argmax(axis=1)
    assert sorted(prediction.selected_ids) == sorted(set(best.tolist()))
    np.testing.assert_array_equal(prediction.mask, masks[prediction.selected_ids].any(axis=0))
    np.testing.assert_allclose(prediction.kept_scores, np.where(allowed, ious, 0).max(axis=0), rtol=1e-6)
    assert method.counters == Counters(encoder_calls=1, box_decodes=4)  # each box once


def test_no_single_candidate_would_have_done_better(oracle, blob_sam, picture):
    pool = [RIGHT, NEARLY, ROUGHLY, (5, 5, 60, 80), LEFT]
    prediction, _ = oracle(pool, [(10, 10, 70, 70)], area=AreaConfig(enabled=False))
    target = blocks((10, 10, 70, 70))[0]
    singles = [iou(mask, target) for mask in prompted(blob_sam, picture, *pool)]
    assert iou(prediction.mask, target) == max(singles)


def test_the_filter_is_switched_like_everyone_elses(oracle):
    filtered, _ = oracle([WHOLE, ROUGHLY], [WHOLE])
    bare, _ = oracle([WHOLE, ROUGHLY], [WHOLE], area=AreaConfig(enabled=False))
    assert (filtered.selected_ids, bare.selected_ids) == ([1], [0])
    assert (filtered.kept_ids.tolist(), bare.kept_ids.tolist()) == ([1], [0, 1])


@pytest.mark.parametrize(
    ("pool", "target", "k", "status", "selected"),
    [
        ([], [RIGHT], 1, "no_masks", []),
        ([RIGHT], [], 1, "no_masks", []),
        ([WHOLE], [RIGHT], 1, "all_filtered", []),
        ([RIGHT], [LEFT], 1, "k_short", []),
        ([RIGHT], [RIGHT, LEFT], 2, "k_short", [0]),
        ([(5, 5, 60, 80)], [RIGHT, (40, 5, 60, 80)], 2, "k_short", [0]),
        ([LINE], [LEFT], 1, "zero_box", [0]),
        ([RIGHT, LEFT], [RIGHT], 2, "ok", [0]),  # the picture holds one of two: nothing is missing
        ([RIGHT], [RIGHT], 1, "ok", [0]),
    ],
)
def test_what_is_missing_is_said(oracle, pool, target, k, status, selected):
    prediction, _ = oracle(pool, target, k)
    assert prediction.status == status
    assert prediction.selected_ids == selected
    assert prediction.mask.shape == SHAPE
    assert prediction.mask.any() == (status != "zero_box" and bool(selected))


@pytest.mark.parametrize(
    ("pool", "failure"), [([LEFT], "sam"), ([(0, 0, 100, 95)], "sam"), ([RIGHT], "prompt"), ([], "sam")]
)
def test_its_failures_are_those_of_pool_and_prompt(oracle, pool, failure):
    prediction, _ = oracle(pool, [RIGHT])
    prediction.mask[:] = False
    assert attribute(prediction, blocks(RIGHT)[0], 1, METHODS["oracle"]).failure == failure


def test_a_region_that_the_filter_took_is_the_filters(oracle):
    prediction, _ = oracle([WHOLE], [WHOLE])
    assert attribute(prediction, blocks(WHOLE)[0], 1, METHODS["oracle"]).failure == "filter"


def test_it_needs_a_target(oracle):
    with pytest.raises(CaseError, match="oracle") as caught:
        oracle([RIGHT], None)
    assert caught.value.code == "E_MASK"


def test_equal_candidates_go_to_the_first_and_what_overlaps_nothing_is_never_taken():
    no = np.nan
    assert best_rows(np.array([[0.2, 0.5, 0.5], [0.7, 0.1, no]])).tolist() == [0, 1]
    assert best_rows(np.array([[no, 0.0]])).tolist() == [1]
    assert best_rows(np.array([[no, no]])).tolist() == []
    assert best_rows(np.array([[0.6], [0.3]])).tolist() == [0]
    assert best_rows(np.zeros((0, 3))).tolist() == []
