"""CLIP loads from TorchScript or a state dict, from proven bytes of the right variant, or says what is wrong."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from salip_exp.config import ClipConfig, Precision
from salip_exp.errors import WeightsError
from salip_exp.networks._embedded.networks import build_clip
from salip_exp.networks.clip import LoadedClip, load_clip
from tools.embedded.files import save_clip

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]
CPU = torch.device("cpu")
Nets = tuple[Callable[..., Any], Callable[..., Any]]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(path: Path, name: str = "mini") -> LoadedClip:
    return load_clip(ClipConfig(name=name, weights=str(path), sha256=sha256(path)), CPU, download=False)


def refusal(path: Path, name: str = "mini") -> str:
    with pytest.raises(WeightsError) as fault:
        load(path, name)
    assert "\n" not in str(fault.value) and fault.value.exit_code == 4
    return str(fault.value)


def probe(net: Any, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(5))
    words = torch.zeros(2, 77, dtype=torch.int64)
    words[:, :4] = torch.tensor([[49406, 320, 1929, 49407], [49406, 2368, 4729, 49407]])
    with torch.no_grad():
        return net.encode_image(images), net.encode_text(words)


def archive(net: Any, path: Path) -> Path:
    """A file like OpenAI's: a traced network that carries its sizes as buffers."""
    for name, size in {"input_resolution": 32, "context_length": 77, "vocab_size": 49408}.items():
        if name != "input_resolution":
            delattr(net, name)
        net.register_buffer(name, torch.tensor(size))
    words = torch.zeros(1, 77, dtype=torch.int64)
    traced = torch.jit.trace(net, (torch.zeros(1, 3, 32, 32), words), check_trace=False)
    traced.save(path)
    return path


@pytest.fixture
def stored(nets: Nets, tmp_path: Path, small: Any) -> Path:
    return archive(nets[1](), tmp_path / "mini.pt")


def test_torchscript_gives_the_embeddings_of_its_network(stored: Path, nets: Nets) -> None:
    clip = load(stored)
    for ours, theirs in zip(probe(clip.net), probe(nets[1]()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert (clip.name, clip.sha256, clip.device) == ("mini", sha256(stored), CPU)
    assert not clip.net.training and not any(p.requires_grad for p in clip.net.parameters())
    assert {p.dtype for p in clip.net.parameters()} == {torch.float32}


@pytest.mark.filterwarnings("error")
def test_loading_torchscript_warns_of_nothing(stored: Path) -> None:
    load(stored)


def test_torchscript_loads_as_the_clip_package_loads_it(stored: Path) -> None:
    from salip_exp.networks.packages import clip as package

    theirs, _ = package.load(str(stored), device="cpu")
    for a, b in zip(probe(load(stored).net), probe(theirs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_a_state_dict_registered_by_hash_loads_too(nets: Nets, tmp_path: Path, small: Any) -> None:
    torch.save(nets[1]().state_dict(), tmp_path / "plain.pt")
    for ours, theirs in zip(probe(load(tmp_path / "plain.pt").net), probe(nets[1]()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_the_embedded_network_loads_through_its_own_file(tmp_path: Path) -> None:
    net, ids, path = build_clip(), torch.tensor([320, 1929, 2368, 4729, 49406, 49407, 0]), tmp_path / "c.safetensors"
    save_clip(net, ids, path)
    clip = load(path, "tiny")
    for ours, theirs in zip(probe(clip.net, 64), probe(net, 64), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)


def test_half_precision_is_clips_own_and_differs_little(stored: Path) -> None:
    config = ClipConfig(name="mini", weights=str(stored), sha256=sha256(stored), precision=Precision.float16)
    half = probe(load_clip(config, CPU, download=False).net)
    for ours, full in zip(half, probe(load(stored).net), strict=True):
        assert ours.dtype == torch.float16
        torch.testing.assert_close(ours.float(), full, rtol=0.02, atol=0.02)


@pytest.mark.fault("W1")
def test_w1_a_truncated_archive_is_refused_before_and_after_its_hash(stored: Path) -> None:
    whole = sha256(stored)
    stored.write_bytes(stored.read_bytes()[:-200])
    with pytest.raises(WeightsError, match=f"{whole} was expected"):
        load_clip(ClipConfig(name="mini", weights=str(stored), sha256=whole), CPU, download=False)
    assert "cannot be read" in refusal(stored)


@pytest.mark.fault("W2", "R6")
def test_w2_torchscript_is_not_opened_before_its_hash_matched(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, data = sha256(stored), bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 16
    stored.write_bytes(data)
    monkeypatch.setattr(torch.jit, "load", lambda *_, **__: pytest.fail("deserialised"))
    with pytest.raises(WeightsError, match="was expected"):
        load_clip(ClipConfig(name="mini", weights=str(stored), sha256=whole), CPU, download=False)


def test_a_damaged_archive_with_a_matching_hash_is_one_sentence(stored: Path) -> None:
    data = bytearray(stored.read_bytes())
    at = data.index(b"code/")
    data[at : at + 4000] = bytes(4000)
    stored.write_bytes(data)
    assert "mini" in refusal(stored)


@pytest.mark.parametrize(
    ("width", "patch", "tokens", "holds"),
    [(768, 32, 50, "clip=vit_b_32"), (1024, 14, 257, "clip=vit_l_14"), (1024, 14, 577, "input 336")],
)
@pytest.mark.fault("W3")
def test_w3_another_variant_is_named(
    tmp_path: Path, small: Any, width: int, patch: int, tokens: int, holds: str
) -> None:
    path = tmp_path / "other.pt"
    tensors = {
        "visual.conv1.weight": torch.zeros(width, 3, patch, patch),
        "visual.positional_embedding": torch.zeros(tokens, 2),
    }
    torch.save(tensors, path)
    text = refusal(path)
    assert "clip=mini was asked for" in text and holds in text and str(path) in text


@pytest.mark.fault("W4")
def test_w4_a_malicious_pickle_is_not_executed(bomb: Any, small: Any, tmp_path: Path) -> None:
    torch.save({"state_dict": bomb}, tmp_path / "evil.pt")
    assert "nothing in it was run" in refusal(tmp_path / "evil.pt")
    assert not bomb.canary.exists()


@pytest.mark.fault("W4")
def test_w4_a_malicious_pickle_inside_an_archive_is_not_executed(bomb: Any, stored: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.pt"
    with zipfile.ZipFile(stored) as source, zipfile.ZipFile(evil, "w") as target:
        for name in source.namelist():
            data = pickle.dumps(bomb, protocol=2) if name.endswith("/data.pkl") else source.read(name)
            target.writestr(name, data)
    assert "cannot be read" in refusal(evil)
    assert not bomb.canary.exists()


@pytest.mark.fault("W5")
def test_w5_an_unregistered_state_dict_is_told_how_to_register(nets: Nets, tmp_path: Path) -> None:
    path = tmp_path / "plain.pt"
    torch.save(nets[1]().state_dict(), path)
    with pytest.raises(WeightsError, match=f"add clip.sha256={sha256(path)}"):
        load_clip(ClipConfig(name="vit_l_14", weights=str(path)), CPU, download=False)


@pytest.mark.fault("W5")
def test_w5_sam_weights_given_as_clip_are_named(nets: Nets, tmp_path: Path, small: Any) -> None:
    path = tmp_path / "sam.pth"
    torch.save(nets[0]().state_dict(), path)
    assert "holds SAM weights" in refusal(path)


@pytest.mark.fault("W5")
def test_w5_other_torchscript_given_as_clip_is_named(tmp_path: Path, small: Any) -> None:
    path = tmp_path / "linear.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    assert "no CLIP transformer" in refusal(path)


@pytest.mark.parametrize("lost", ["text_projection", "visual.class_embedding", "ln_final.weight"])
def test_a_state_dict_with_a_hole_is_refused(nets: Nets, tmp_path: Path, small: Any, lost: str) -> None:
    state = nets[1]().state_dict()
    del state[lost]
    torch.save(state, tmp_path / "hole.pt")
    assert lost in refusal(tmp_path / "hole.pt")


@pytest.mark.fault("W7")
def test_w7_absent_official_weights_name_place_and_hash(cache: Path) -> None:
    with pytest.raises(WeightsError) as fault:
        load_clip(ClipConfig(name="vit_l_14"), CPU, download=False)
    assert str(cache / "weights" / "ViT-L-14.pt") in str(fault.value)
    assert "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836" in str(fault.value)
