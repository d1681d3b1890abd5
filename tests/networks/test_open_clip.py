"""A CLIP of open_clip embeds what the library itself embeds: its tokens, its preprocessing, its weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from salip_exp.cascade.retrieval import embed_views, read_by
from salip_exp.cascade.work import Counters
from salip_exp.config import ClipConfig, Precision, Prototype, ViewFit
from salip_exp.errors import ConfigError, WeightsError
from salip_exp.networks.clip import LoadedClip, load_clip
from tests.networks.folders import OPEN_CLIPS, open_clip_folder

pytestmark = [pytest.mark.ci, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
CPU = torch.device("cpu")
SENTENCES = ["a bright oval, with a rim", "The SKULL of a small head"]


def load(folder: Path, **more: Any) -> LoadedClip:
    return load_clip(ClipConfig(name="siglip2", weights=str(folder), **more), CPU, download=False)


def pictures() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.integers(0, 255, (h, w, 3)).astype(np.uint8) for h, w in [(20, 50), (64, 64), (1, 9), (90, 31)]]


@pytest.mark.parametrize("kind", OPEN_CLIPS)
def test_embeddings_are_those_of_the_library(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_clip: Any
) -> None:
    folder = open_clip_folder(tmp_path / "net", kind, monkeypatch)
    loaded = load(folder)
    monkeypatch.chdir(folder)
    theirs, _, transform = open_clip.create_model_and_transforms("local-dir:.")
    tokenizer = open_clip.get_tokenizer("local-dir:.")
    theirs.eval()
    with torch.no_grad():
        text = theirs.encode_text(tokenizer(SENTENCES), normalize=True)
        seen = torch.stack([transform(Image.fromarray(each)) for each in pictures()])
        image = theirs.encode_image(seen, normalize=True)
    ours = read_by(loaded.net, SENTENCES, Prototype.normalise_first, Counters())
    views = embed_views(loaded.net, pictures(), ViewFit.center_crop, 4, Counters())
    np.testing.assert_allclose(ours.sentences, text.numpy(), atol=1e-6)
    np.testing.assert_allclose(views, image.numpy(), atol=1e-6)
    assert loaded.net.words.context_length == OPEN_CLIPS[kind]["model_cfg"]["text_cfg"]["context_length"]
    assert embed_views(loaded.net, [], ViewFit.pad, 4, Counters()).shape == (0, image.shape[1])
    scale, bias = loaded.logit
    assert scale == pytest.approx(theirs.logit_scale.exp().item())
    assert bias == (0.0 if theirs.logit_bias is None else theirs.logit_bias.item())
    assert not loaded.net.training and not any(each.requires_grad for each in loaded.net.parameters())


@pytest.mark.parametrize("kind", OPEN_CLIPS)
def test_sentences_that_the_library_would_cut_are_refused(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = load(open_clip_folder(tmp_path / "net", kind, monkeypatch)).net
    fits = " ".join(["head"] * (net.words.context_length - 2))
    assert net.tokens(fits).shape == (1, net.words.context_length)
    with pytest.raises(ConfigError, match=f"more than the {net.words.context_length} tokens"):
        net.tokens(f"{fits} head")


def test_makers_who_give_sizes_alone_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_clip: Any) -> None:
    """FetalCLIP's two files: a description as open_clip's own, and a state dict."""
    made = open_clip_folder(tmp_path / "made", "plain", monkeypatch)
    expected = embed_views(load(made).net, pictures(), ViewFit.pad, 4, Counters())
    given = tmp_path / "given"
    given.mkdir()
    (given / "FetalCLIP_config.json").write_text(json.dumps(OPEN_CLIPS["plain"]["model_cfg"]))
    net = open_clip.create_model("local-dir:" + str(made))
    torch.save(net.state_dict(), given / "FetalCLIP_weights.pt")
    fetal = load_clip(ClipConfig(name="fetalclip", weights=str(given)), CPU, download=False)
    np.testing.assert_array_equal(embed_views(fetal.net, pictures(), ViewFit.pad, 4, Counters()), expected)
    with pytest.raises(WeightsError, match=r"clip\.weights=FOLDER says where they lie"):
        load_clip(ClipConfig(name="fetalclip"), CPU, download=False)


def test_a_file_that_differs_is_another_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_clip_folder(tmp_path / "net", "siglip", monkeypatch)
    before = load(folder)
    assert load(folder, sha256=before.sha256).sha256 == before.sha256
    words = folder / "tokenizer_config.json"
    words.write_text(words.read_text() + "\n")
    assert load(folder).sha256 != before.sha256
    with pytest.raises(WeightsError, match=f"but {before.sha256} was expected"):
        load(folder, sha256=before.sha256)


def test_what_does_not_hold_together_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = open_clip_folder(tmp_path / "net", "plain", monkeypatch)
    with pytest.raises(ConfigError, match=r"clip\.precision=float16 is how OpenAI's CLIP computes"):
        load(folder, precision=Precision.float16)
    whole = OPEN_CLIPS["plain"]["model_cfg"]
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**whole, "embed_dim": 48}}))
    with pytest.raises(WeightsError, match="cannot be built") as fault:
        load(folder)
    assert "\n" not in str(fault.value)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(WeightsError, match="holds no network that can be read"):
        load(folder)
