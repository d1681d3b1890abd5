"""Faster arithmetic is asked for by name, named in keys, and close to the exact one."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from salip_exp.cascade.embedding import embed
from salip_exp.cascade.everything import MaskGenerator
from salip_exp.cascade.retrieval import embed_views
from salip_exp.cascade.work import Counters
from salip_exp.config import Arithmetic, ViewFit
from salip_exp.networks._attention import LowRankAttention
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.device import network_key, sped_up
from salip_exp.networks.sam import LoadedSam

CPU = torch.device("cpu")


@pytest.fixture
def sam(random_sam) -> LoadedSam:
    return LoadedSam(copy.deepcopy(random_sam), "tiny", "0", CPU)


@pytest.fixture
def clip(random_clip) -> LoadedClip:
    return LoadedClip(copy.deepcopy(random_clip), "tiny", "1", CPU)


def test_fp32_changes_nothing(sam, random_sam, picture):
    exact = sped_up(sam, Arithmetic.fp32, compiled=False)
    features = [embed(net, picture, Counters())[0].features for net in (exact.net, random_sam)]
    assert torch.equal(*features)


def test_bf16_gives_float32_near_the_exact(sam, random_sam, picture):
    fast = sped_up(sam, Arithmetic.bf16, compiled=False).net
    rounded, exact = (embed(net, picture, Counters())[0].features for net in (fast, random_sam))
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert ((rounded - exact).norm() / exact.norm()) < 0.05
    settings = {"points_per_side": 4, "pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
    assert len(MaskGenerator(fast, **settings).generate(picture)) > 0


def test_bf16_on_a_gpu_attends_by_low_rank_and_its_key_says_so(sam, random_sam):
    on_gpu = sped_up(LoadedSam(sam.net, "tiny", "0", torch.device("cuda")), Arithmetic.bf16, compiled=False)
    assert any(isinstance(each, LowRankAttention) for each in on_gpu.net.image_encoder.modules())
    assert on_gpu.arithmetic == "float32, bf16, low rank"
    for exact in (LoadedSam(random_sam, "tiny", "0", torch.device("cuda")), LoadedSam(random_sam, "tiny", "0", CPU)):
        same = sped_up(exact, Arithmetic.fp32, compiled=False)
        assert not any(isinstance(each, LowRankAttention) for each in same.net.image_encoder.modules())
        assert same.arithmetic == "float32, fp32"


def test_clip_stays_exact_since_rounding_would_change_what_is_retrieved(clip, random_clip, picture):
    views = [picture, picture[:50], picture[:, 30:]]
    fast = sped_up(clip, Arithmetic.bf16, compiled=False).net
    ours, exact = (embed_views(net, views, ViewFit.pad, 8, Counters()) for net in (fast, random_clip))
    np.testing.assert_array_equal(ours, exact)


@pytest.mark.slow
def test_compiled_gives_the_exact_result_but_for_rounding(sam, random_sam, picture):
    fast = sped_up(sam, Arithmetic.fp32, compiled=True).net
    compiled, exact = (embed(net, picture, Counters())[0].features for net in (fast, random_sam))
    torch.testing.assert_close(compiled, exact, rtol=1e-3, atol=1e-4)


def test_how_a_network_computes_is_part_of_its_key(sam, random_sam):
    before = torch.get_num_threads()
    keys = {network_key(LoadedSam(random_sam, "tiny", "0", CPU))}
    keys.add(network_key(LoadedSam(random_sam, "tiny", "9", CPU)))
    keys.add(network_key(sped_up(sam, Arithmetic.bf16, compiled=False)))
    keys.add(network_key(sped_up(sam, Arithmetic.fp32, compiled=True)))
    try:
        torch.set_num_threads(3 - before if before in (1, 2) else 1)
        keys.add(network_key(LoadedSam(random_sam, "tiny", "0", CPU)))
    finally:
        torch.set_num_threads(before)
    assert len(keys) == 5
