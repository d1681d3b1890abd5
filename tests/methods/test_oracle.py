"""The oracle takes what the target would choose, and is lost where the pool, the filter or the box is."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.cache.store import MemoryStore, NoStore
from salip_exp.cascade.cached_sam import Picture, SamStages
from salip_exp.cascade.embedding import embed
from salip_exp.cascade.organ import segment_box
from salip_exp.cascade.pool import pack
from salip_exp.cascade.work import Counters
from salip_exp.config import AreaConfig, ClipConfig, Config, DatasetConfig, SamConfig, VdtConfig
from salip_exp.data.case import Case
from salip_exp.errors import CaseError
from salip_exp.evaluation.attribution import attribute
from salip_exp.evaluation.metrics import dice, iou
from salip_exp.methods._registry import build_method
from salip_exp.methods.bounds import best_rows
from salip_exp.networks.clip import LoadedClip
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


def best_of(masks, target, k) -> float:
    """The highest DSC of the union of at most k masks, by trying all."""
    groups = [group for n in range(1, k + 1) for group in combinations(masks, n)]
    return max((dice(np.logical_or.reduce(group), target) for group in groups), default=0.0)


def test_it_takes_the_candidates_whose_boxes_prompt_the_best_masks(oracle, blob_sam, picture):
    pool = [ROUGHLY, WHOLE, NEARLY, FAR]
    prediction, method = oracle(pool, [RIGHT, LEFT], k=2, area=AreaConfig(enabled=False))
    masks, target = prompted(blob_sam, picture, *pool), blocks(RIGHT, LEFT).any(axis=0)
    np.testing.assert_array_equal(prediction.mask, masks[prediction.selected_ids].any(axis=0))
    assert dice(prediction.mask, target) == best_of(masks, target, 2)
    np.testing.assert_allclose(prediction.kept_scores, [iou(mask, target) for mask in masks], rtol=1e-6)
    assert method.counters == Counters(encoder_calls=1, box_decodes=4)  # each box once


MASK = st.tuples(*[st.integers(0, 12)] * 4).map(lambda xy: rectangle(*xy))


def rectangle(x0: int, x1: int, y0: int, y1: int) -> np.ndarray:
    mask = np.zeros((12, 13), bool)
    mask[min(y0, y1) : max(y0, y1), min(x0, x1) : max(x0, x1)] = True
    return mask


@given(st.lists(MASK, max_size=8), st.lists(MASK, min_size=1, max_size=3), st.integers(1, 3))
def test_no_choice_from_the_same_masks_is_better(masks, target, k):
    target = np.logical_or.reduce(target)
    packed = pack(np.array(masks, bool).reshape(-1, 12, 13))
    rows = best_rows(packed, target, k)
    assert len(set(rows.tolist())) == len(rows) <= k
    found = dice(packed.select(rows).dense().any(axis=0), target) if target.any() else 0.0
    best = best_of(masks, target, min(k, 2)) if target.any() else 0.0
    assert found == best if k <= 2 else found >= best
    alone = [dice(masks[row], target) for row in rows]
    assert alone == sorted(alone, reverse=True)


def test_of_equals_the_first_are_taken_and_none_that_gains_nothing():
    masks = pack(blocks(LEFT, RIGHT, RIGHT, WHOLE, FAR))
    target = blocks(RIGHT)[0]
    assert best_rows(masks, target, 1).tolist() == best_rows(masks, target, 2).tolist() == [1]
    assert best_rows(masks, blocks(RIGHT, LEFT).any(axis=0), 3).tolist() == [0, 1]
    assert best_rows(masks, ~blocks(WHOLE)[0], 2).tolist() == []
    assert best_rows(pack(blocks(LEFT)), target, 2).tolist() == []


@pytest.mark.parametrize("seed", range(3))
def test_salip_cannot_beat_it_from_the_same_candidates(seed, oracle, picture, monkeypatch):
    """Organs that touch, and a speck of the annotation, are no exception."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.integers(0, (128, 96), (9, 2, 2)), axis=1).reshape(9, 4)
    pool = [tuple(each) for each in corners.tolist()]
    target = [(10, 10, 60, 80), (61, 10, 110, 80), (120, 2, 120, 2)]
    prediction, method = oracle(pool, target, k=2)
    kept = prediction.pool.select(np.isin(prediction.pool.ids, prediction.kept_ids))
    goal = blocks(*target).any(axis=0)
    for pair in combinations(range(len(kept)), 2):
        union = method.sam.organ(Picture(picture), kept.boxes[list(pair)], method.config.organ)
        assert dice(union, goal) <= dice(prediction.mask, goal)


@pytest.mark.parametrize("k", [1, 2])
def test_the_methods_of_the_ladder_climb_what_salip_is_charged(k, blob_sam, random_clip, picture):
    """Case by case, with networks of random weights: to the last bit, and none is beaten by the next."""
    lenient = SamConfig("stub", points_per_side=6, pred_iou_thresh=0.1, stability_score_thresh=0.2, box_nms_thresh=0.9)
    names = {"dataset": DatasetConfig("stub", "folder", k=k), "clip": ClipConfig("stub"), "vdt": VdtConfig("stub")}
    cpu, target = torch.device("cpu"), blocks(RIGHT, LEFT).any(axis=0)
    loaded = LoadedSam(blob_sam, "stub", "0", cpu), LoadedClip(random_clip, "stub", "0", cpu)
    store = MemoryStore(2**28)

    def run(name, case, area=0.4, enabled=True):
        config = Config(method=name, sam=lenient, area=AreaConfig(enabled=enabled, threshold=area), **names)
        prediction = build_method(config, *loaded, ["a bright oval"], store).predict(case)
        return dice(prediction.mask, target), attribute(case, prediction, config).charges

    for shift in range(3):
        case = Case(str(shift), "stub", "all", np.roll(picture, 40 * shift, axis=1), target, None, "s")
        of_target, of_pool = run("gt_sam", case)[0], run("oracle", case, enabled=False)[0]
        (of_kept, _), (got, charges) = run("oracle", case), run("salip", case)
        reached = [1.0, max(of_target, of_pool), of_pool, of_kept, got]
        assert reached == sorted(reached, reverse=True)
        assert list(charges.values()) == pytest.approx([a - b for a, b in pairwise(reached)], abs=1e-12)


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
        ([LINE], [LEFT], 1, "k_short", []),  # a line is no box: it prompts nothing
        ([RIGHT], [RIGHT, LEFT], 2, "k_short", [0]),
        ([RIGHT], [RIGHT, (120, 2, 120, 2)], 2, "ok", [0]),  # a speck is no second organ
        ([RIGHT, LINE], [RIGHT], 2, "ok", [0]),  # the picture holds one of two: nothing is missing
        ([RIGHT], [RIGHT], 1, "ok", [0]),
    ],
)
def test_what_is_missing_is_said(oracle, pool, target, k, status, selected):
    prediction, _ = oracle(pool, target, k)
    assert prediction.status == status
    assert prediction.selected_ids == selected
    assert prediction.mask.shape == SHAPE
    assert prediction.mask.any() == bool(selected)


@pytest.mark.parametrize("pool", [[LEFT], [WHOLE, LEFT], []])
def test_it_loses_nothing_by_its_choice(oracle, picture, pool):
    target = blocks(RIGHT).any(axis=0)
    prediction, method = oracle(pool, [RIGHT])
    case = Case("case", "stub", "all", picture, target, None, "s")
    charges = attribute(case, prediction, method.config).charges
    assert set(charges) == {"prompt", "sam", "filter"}
    assert sum(charges.values()) == pytest.approx(1 - dice(prediction.mask, target), abs=1e-12)


def test_it_needs_a_target(oracle):
    with pytest.raises(CaseError, match="oracle") as caught:
        oracle([RIGHT], None)
    assert caught.value.code == "E_MASK"
