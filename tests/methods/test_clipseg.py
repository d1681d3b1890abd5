"""CLIPSeg as a method: what the library's own forward gives, once, and nothing without its decoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from salip_exp.cache.store import MemoryStore
from salip_exp.cascade.work import Counters
from salip_exp.config import ClipConfig, Config, VdtConfig
from salip_exp.data.case import Case
from salip_exp.errors import ConfigError
from salip_exp.methods._registry import build_method
from salip_exp.networks.clip import LoadedClip, load_clip
from tests.networks.folders import clipseg_folder

CPU, SENTENCES = torch.device("cpu"), ["a big oval", "the head"]
CONFIG = Config(method="clipseg", clip=ClipConfig("clipseg"), vdt=VdtConfig("head"))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedClip:
    folder = clipseg_folder(tmp_path_factory.mktemp("net") / "clipseg")
    return load_clip(ClipConfig("clipseg", weights=str(folder)), CPU, download=False)


@pytest.mark.ci
def test_the_mask_is_that_of_the_library(loaded: LoadedClip, picture: NDArray[np.uint8]) -> None:
    store = MemoryStore(2**24)
    method = build_method(CONFIG, None, loaded, SENTENCES, store)
    found = method.predict(Case("c", "stub", "all", picture, None, None, "s"))
    net: Any = loaded.net
    with torch.no_grad():
        wanted = torch.cat([net.encode_text(net.tokens(each)) for each in SENTENCES]).mean(dim=0, keepdim=True)
        pixels = net.pixels(Image.fromarray(picture))[None]
        logits = net.net(pixel_values=pixels, conditional_embeddings=wanted).logits.reshape(1, 1, 32, 32)
        full = functional.interpolate(logits, picture.shape[:2], mode="bilinear", align_corners=False)[0, 0]
    assert np.array_equal(found.mask, (full > 0).numpy())
    assert (found.status, found.pool, len(found.boxes)) == ("ok", None, 0)
    assert method.counters == Counters(clip_image_forwards=1, clip_images=1, clip_text_forwards=1)
    again = build_method(CONFIG, None, loaded, SENTENCES, store)
    assert np.array_equal(again.predict(Case("c", "stub", "all", picture, None, None, "s")).mask, found.mask)
    assert again.counters == Counters()


def test_a_clip_without_a_decoder_is_refused(random_clip: Any) -> None:
    clip = LoadedClip(random_clip, "stub", "0", CPU)
    with pytest.raises(ConfigError, match="take clip=clipseg"):
        build_method(CONFIG, None, clip, SENTENCES, MemoryStore(2**20))


@pytest.mark.ci
def test_the_clip_of_a_clipseg_embeds_views_and_texts(loaded: LoadedClip, picture: NDArray[np.uint8]) -> None:
    from salip_exp.cascade.retrieval import embed_views
    from salip_exp.config import ViewFit

    views = embed_views(loaded.net, [picture, picture[:40]], ViewFit.pad, 4, Counters())
    assert views.shape == (2, 24)
    assert np.allclose(np.linalg.norm(views, axis=1), 1, atol=1e-5)
