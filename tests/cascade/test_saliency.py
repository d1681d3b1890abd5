"""Where CLIP looks: a map of gradients that is no less than it is in the library, and boxes around what is relevant."""

from __future__ import annotations

from copy import deepcopy

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from salip_exp.cascade.retrieval import preprocess, read_by
from salip_exp.cascade.saliency import boxes_of, relevance
from salip_exp.cascade.work import Counters
from salip_exp.config import ClipConfig, Prototype, ViewFit
from salip_exp.errors import CaseError, ConfigError
from salip_exp.networks.clip import load_clip
from tests.networks.folders import open_clip_folder, transformers_folder


@pytest.fixture
def prototype(random_clip):
    return read_by(random_clip, ["a bright oval"], Prototype.normalise_first, Counters()).prototype


def test_the_map_is_that_of_grad_cam_by_hand(random_clip, prototype, picture):
    square = picture[:, :96]
    counters = Counters()
    found = relevance(random_clip, square, prototype, counters)
    assert found.shape == (96, 96) and found.dtype == np.float32 and found.min() >= 0
    assert (counters.clip_image_forwards, counters.clip_images) == (1, 1)

    net = random_clip.visual
    with torch.no_grad():  # the tower by its parts, up to its last block
        x = net.conv1(preprocess(square, net.input_resolution, ViewFit.pad)[None]).flatten(2).permute(0, 2, 1)
        x = torch.cat([net.class_embedding.expand(1, 1, -1), x], dim=1) + net.positional_embedding
        x = net.ln_pre(x).permute(1, 0, 2)
        for block in net.transformer.resblocks[:-1]:
            x = block(x)
    x.requires_grad_()
    embedding = net.ln_post(net.transformer.resblocks[-1](x).permute(1, 0, 2)[:, 0]) @ net.proj
    likeness = functional.cosine_similarity(embedding, torch.tensor(prototype)[None])
    (gradient,) = torch.autograd.grad(likeness.sum(), x)
    cam = (x[1:, 0] @ gradient[1:, 0].mean(dim=0)).relu().detach().reshape(8, 8)
    assert found == pytest.approx(cv2.resize(cam.numpy(), (96, 96), interpolation=cv2.INTER_LINEAR), abs=1e-6)


def test_an_image_is_seen_whole_and_the_map_lies_on_it(random_clip, prototype, picture):
    found = relevance(random_clip, picture, prototype, Counters())
    assert found.shape == picture.shape[:2]
    black = np.zeros((128, 128, 3), np.uint8)
    black[16:112] = picture
    whole = relevance(random_clip, black, prototype, Counters())
    assert found == pytest.approx(whole[16:112], abs=1e-6)


def test_the_network_is_left_as_it_was(random_clip, prototype, picture):
    with pytest.raises(RuntimeError):
        relevance(random_clip, picture, prototype[:5], Counters())
    relevance(random_clip, picture, prototype, Counters())
    assert not any(block._forward_pre_hooks for block in random_clip.visual.modules())
    assert all(each.grad is None for each in random_clip.parameters())


def test_a_tower_without_blocks_and_gradients_that_are_none_are_refused(random_clip, prototype, picture):
    other = deepcopy(random_clip)
    other.visual.transformer = torch.nn.Identity()
    with pytest.raises(ConfigError, match="vision transformer"):
        relevance(other, picture, prototype, Counters())
    with pytest.raises(CaseError) as caught:
        relevance(random_clip, picture, np.full_like(prototype, np.nan), Counters())
    assert caught.value.code == "E_NONFINITE"


def test_boxes_hold_the_largest_parts_of_what_is_relevant():
    relevant = np.full((40, 60), 0.1, np.float32)
    relevant[5:15, 10:30], relevant[20:35, 40:50], relevant[0, 0] = 1.0, 0.9, 1.0
    assert boxes_of(relevant, 1).tolist() == [[10, 5, 29, 14]]
    assert boxes_of(relevant, 2).tolist() == [[10, 5, 29, 14], [40, 20, 49, 34]]
    assert boxes_of(np.zeros((4, 4), np.float32), 2).shape == (0, 4)


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["siglip", "bert", "clip of transformers"])
def test_a_clip_of_a_library_is_asked_in_the_same_way(kind, picture, tmp_path, monkeypatch):
    if kind == "clip of transformers":
        config = ClipConfig("pubmedclip", weights=str(transformers_folder(tmp_path / "net", "clip")))
    else:
        config = ClipConfig("siglip2", weights=str(open_clip_folder(tmp_path / "net", kind, monkeypatch)))
    net = load_clip(config, torch.device("cpu"), download=False).net
    prototype = read_by(net, ["a big oval"], Prototype.normalise_first, Counters()).prototype
    found = relevance(net, picture, prototype, Counters())
    assert found.shape == picture.shape[:2] and np.isfinite(found).all()
    assert np.array_equal(found, relevance(net, picture, prototype, Counters()))
