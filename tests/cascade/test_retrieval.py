"""Equation 4: scores equal those of the clip package, and picks do not depend on chance."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from clip.clip import _transform
from clip.model import convert_weights
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from salip_exp.cascade.pool import mask_iou
from salip_exp.cascade.retrieval import embed_views, preprocess, read_by, retrieve, similarities
from salip_exp.cascade.work import Counters
from salip_exp.config import Prototype, Ties, ViewFit
from salip_exp.errors import CaseError, ConfigError
from salip_exp.networks.packages import clip

SENTENCES = ["a bright oval with a dark rim", "an oval head", "the outline of a skull on black"]


@pytest.fixture
def pictures():
    rng = np.random.default_rng(2)
    return [rng.integers(0, 255, (h, w, 3)).astype(np.uint8) for h, w in [(20, 50), (64, 64), (1, 9), (90, 31)]]


def test_scores_equal_the_clip_package(random_clip, pictures):
    transform = _transform(64)
    with torch.no_grad():
        text = random_clip.encode_text(clip.tokenize(SENTENCES))
        text = (text / text.norm(dim=-1, keepdim=True)).mean(dim=0)
        text = text / text.norm()
        image = random_clip.encode_image(torch.stack([transform(Image.fromarray(each)) for each in pictures]))
        expected = (image / image.norm(dim=-1, keepdim=True)) @ text
    prototype = read_by(random_clip, SENTENCES, Prototype.normalise_first, Counters()).prototype
    scores = similarities(embed_views(random_clip, pictures, ViewFit.center_crop, 3, Counters()), prototype)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("order", list(Prototype))
def test_scores_in_float16_equal_the_clip_package_and_its_ties(random_clip, pictures, order):
    """A cast to float32 before normalising told equals apart."""
    net = copy.deepcopy(random_clip)
    convert_weights(net)
    transform = _transform(64)
    with torch.no_grad():
        text = net.encode_text(clip.tokenize(SENTENCES))
        text = text / text.norm(dim=-1, keepdim=True) if order is Prototype.normalise_first else text
        text = text.mean(dim=0)
        text /= text.norm()
        image = net.encode_image(torch.stack([transform(Image.fromarray(each)) for each in pictures]))
        image /= image.norm(dim=-1, keepdim=True)
        logits = (100.0 * image).double() @ text.double()
    prototype = read_by(net, SENTENCES, order, Counters()).prototype
    embeddings = embed_views(net, pictures, ViewFit.center_crop, 3, Counters())
    assert embeddings.dtype == prototype.dtype == np.float16
    assert embed_views(net, [], ViewFit.pad, 3, Counters()).dtype == np.float16
    np.testing.assert_array_equal(embeddings, image.numpy())
    np.testing.assert_array_equal(prototype, text.numpy())
    scores = similarities(embeddings, prototype)
    np.testing.assert_array_equal(scores, logits.half().float().numpy() / np.float32(100))


def test_logits_of_one_step_of_float16_are_ties():
    """Between 16 and 32 float16 has steps of 1/64: 22.500 and 22.503 are equals, 22.520 is more."""
    prototype = np.ones(2, np.float16)
    embeddings = np.array([[0.2, 0.025], [0.2, 0.02503], [0.2, 0.0252]])
    told_apart = similarities(embeddings.astype(np.float32), prototype)
    rounded = similarities(embeddings.astype(np.float16), prototype)
    assert len(set(told_apart.tolist())) == 3
    assert (rounded * 100 * 64).round(2).tolist() == [1440, 1440, 1441]
    assert rounded[0] == rounded[1]


def test_padding_loses_nothing_and_changes_no_square(pictures):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, :4] = 255
    assert preprocess(wide, 64, ViewFit.pad).max() > preprocess(wide, 64, ViewFit.center_crop).max()
    square = pictures[1]
    torch.testing.assert_close(preprocess(square, 64, ViewFit.pad), preprocess(square, 64, ViewFit.center_crop))


def test_orders_of_averaging_differ_as_documented(random_clip):
    with torch.no_grad():
        raw = random_clip.encode_text(clip.tokenize(SENTENCES)).numpy()
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    for order, mean in [(Prototype.normalise_first, unit.mean(axis=0)), (Prototype.mean_first, raw.mean(axis=0))]:
        prototype = read_by(random_clip, SENTENCES, order, Counters()).prototype
        np.testing.assert_allclose(prototype, mean / np.linalg.norm(mean), atol=1e-5)


def test_forwards_are_counted(random_clip, pictures):
    counters = Counters()
    read_by(random_clip, SENTENCES, Prototype.mean_first, counters)
    embed_views(random_clip, pictures, ViewFit.pad, 3, counters)
    assert embed_views(random_clip, [], ViewFit.pad, 3, counters).shape == (0, 128)
    assert counters == Counters(clip_text_forwards=1, clip_image_forwards=2, clip_images=4)
    assert (counters + counters).clip_images == 8


def test_an_embedding_does_not_depend_on_what_is_computed_beside_it(random_clip, pictures):
    whole = embed_views(random_clip, pictures * 5, ViewFit.pad, 20, Counters())
    for batch in (1, 2, 3, 7):
        np.testing.assert_array_equal(embed_views(random_clip, pictures * 5, ViewFit.pad, batch, Counters()), whole)


@pytest.mark.fault("C4")
def test_long_sentences_are_named_not_cut(random_clip):
    long = "a very long description " * 30
    with pytest.raises(ConfigError, match=r"a very long description .* 77 tokens"):
        read_by(random_clip, ["short", long], Prototype.normalise_first, Counters())
    with pytest.raises(ConfigError, match="no sentences"):
        read_by(random_clip, [], Prototype.normalise_first, Counters())


def stripes(*spans: tuple[int, int]) -> np.ndarray:
    masks = np.zeros((len(spans), 4, 100), bool)
    for mask, (start, stop) in zip(masks, spans, strict=True):
        mask[:, start:stop] = True
    return masks


@pytest.mark.fault("P5")
def test_ties_go_to_the_larger_area_then_to_the_lower_id(make_pool):
    pool = make_pool(stripes((0, 10), (20, 40), (50, 70), (80, 90)))
    scores = np.float32([0.3, 0.3, 0.3, 0.2])
    assert retrieve(pool, scores, 4, 0.5).tolist() == [1, 2, 0, 3]
    shuffled = np.array([2, 0, 3, 1])
    picks = retrieve(pool.select(shuffled), scores[shuffled], 4, 0.5)
    assert shuffled[picks].tolist() == [1, 2, 0, 3]


def test_a_second_pick_never_repeats_the_first(make_pool):
    pool = make_pool(stripes((0, 20), (0, 21), (50, 70)))
    scores = np.float32([0.9, 0.8, 0.1])
    assert retrieve(pool, scores, 2, 0.5).tolist() == [0, 2]
    assert retrieve(pool, scores, 2, 1.0).tolist() == [0, 1]
    assert retrieve(pool.select(np.array([0, 1])), scores[:2], 2, 0.5).tolist() == [0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.fault("P5")
def test_scores_that_are_not_finite_fail_the_case(make_pool, bad):
    with pytest.raises(CaseError, match="candidate 1 ") as caught:
        retrieve(make_pool(stripes((0, 1), (1, 2))), np.float32([0.1, bad]), 1, 0.5)
    assert caught.value.code == "E_SCORE"


pools = hnp.arrays(bool, st.tuples(st.integers(0, 8), st.just(3), st.just(4)))


@given(pools, st.integers(1, 5), st.floats(0, 1), st.randoms(use_true_random=False))
def test_picks_are_few_distinct_and_best_first(make_pool, masks, k, max_overlap, random):
    pool = make_pool(masks)
    scores = np.float32([random.choice([0.1, 0.2, 0.3]) for _ in masks])
    picks = retrieve(pool, scores, k, max_overlap)
    assert len(picks) == min(len(pool), 1) if k == 1 else len(picks) <= min(k, len(pool))
    assert len(set(picks.tolist())) == len(picks)
    assert (np.diff(scores[picks]) <= 0).all()
    for i, first in enumerate(picks):
        assert all(mask_iou(masks[first], masks[second]) <= max_overlap for second in picks[:i])
    order = np.array(random.sample(range(len(masks)), len(masks)), dtype=np.int64)
    again = retrieve(pool.select(order), scores[order], k, max_overlap)
    np.testing.assert_array_equal(pool.select(order).ids[again], pool.ids[picks])


@pytest.mark.fault("P5")
def test_of_equal_scores_the_larger_or_the_first_is_taken(make_pool):
    masks = np.zeros((2, 20, 20), bool)
    masks[0, :4, :4] = True
    masks[1, 10:18, 10:18] = True
    pool, scores = make_pool(masks), np.array([0.5, 0.5], np.float32)
    assert retrieve(pool, scores, 1, 1.0, Ties.area).tolist() == [1]
    assert retrieve(pool, scores, 1, 1.0, Ties.first).tolist() == [0]
