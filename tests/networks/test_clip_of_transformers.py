"""A CLIP-like of transformers embeds what the library itself embeds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from salip_exp.cascade.retrieval import embed_views, read_by
from salip_exp.cascade.work import Counters
from salip_exp.config import ClipConfig, Prototype, ViewFit
from salip_exp.errors import ConfigError, WeightsError
from salip_exp.networks.clip import LoadedClip, load_clip
from tests.networks.folders import transformers_folder

pytestmark = pytest.mark.ci
CPU = torch.device("cpu")
SENTENCES = ["a bright head", "a grey oval"]


def load(folder: Path) -> LoadedClip:
    return load_clip(ClipConfig(name="pubmedclip", weights=str(folder)), CPU, download=False)


@pytest.mark.parametrize("kind", ["clip", "align", "siglip", "siglip_giant"])
def test_embeddings_are_those_of_the_library(kind: str, tmp_path: Path, transformers: Any) -> None:
    folder = transformers_folder(tmp_path / "net", kind)
    loaded = load(folder)
    net = transformers.AutoModel.from_pretrained(folder)
    processor = transformers.AutoProcessor.from_pretrained(folder)
    rng = np.random.default_rng(2)
    seen = [rng.integers(0, 255, (h, w, 3)).astype(np.uint8) for h, w in [(20, 50), (64, 64), (90, 31)]]
    padding = True if kind == "clip" else "max_length"
    shown = [Image.fromarray(each) for each in seen]
    inputs = processor(text=SENTENCES, images=shown, padding=padding, return_tensors="pt")
    with torch.no_grad():
        whole = net(**inputs)
    ours = read_by(loaded.net, SENTENCES, Prototype.normalise_first, Counters())
    views = embed_views(loaded.net, seen, ViewFit.center_crop, 4, Counters())
    np.testing.assert_allclose(ours.sentences, whole.text_embeds.numpy(), atol=1e-6)
    np.testing.assert_allclose(views, whole.image_embeds.numpy(), atol=1e-6)
    assert loaded.logit is not None
    factor, added = loaded.logit
    np.testing.assert_allclose(factor * views @ ours.sentences.T + added, whole.logits_per_image.numpy(), atol=1e-4)
    assert embed_views(loaded.net, [], ViewFit.pad, 4, Counters()).shape == (0, views.shape[1])


def test_a_sentence_that_would_be_cut_is_refused(tmp_path: Path) -> None:
    net = load(transformers_folder(tmp_path / "net", "clip")).net
    with pytest.raises(ConfigError, match="more than the 16 tokens"):
        net.tokens("a b c d e f g h i j k l m n o")


def test_a_siglip_of_any_number_of_patches_is_refused_by_name(tmp_path: Path, transformers: Any) -> None:
    folder = transformers_folder(tmp_path / "net", "siglip")
    (folder / "config.json").write_text(json.dumps({"model_type": "siglip2"}))
    with pytest.raises(WeightsError, match="NaFlex takes pictures in patches of any number"):
        load(folder)


def test_tensors_that_are_missing_are_never_drawn_at_random(tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path / "net", "clip")
    file = folder / "model.safetensors"
    state = load_file(file)
    state.pop("text_projection.weight")
    save_file(state, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"lacks 1 tensors of its network \(text_projection\.weight\)"):
        load(folder)
