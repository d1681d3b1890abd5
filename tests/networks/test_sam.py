"""SAM loads through the official classes, from proven tensors of the right variant, or says what is wrong."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything.utils.transforms import ResizeLongestSide

from salip_exp.cascade.embedding import embed
from salip_exp.cascade.organ import segment_box
from salip_exp.cascade.work import Counters
from salip_exp.config import OrganConfig, SamConfig
from salip_exp.errors import WeightsError
from salip_exp.networks import registry
from salip_exp.networks._embedded.networks import build_clip, build_sam
from salip_exp.networks.packages import segment_anything
from salip_exp.networks.registry import TABLE
from salip_exp.networks.sam import LoadedSam, load_sam
from tools.embedded.files import save_clip, save_sam

CPU = torch.device("cpu")
Nets = tuple[Callable[..., Any], Callable[..., Any]]


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def load(path: Path, name: str = "mini") -> LoadedSam:
    return load_sam(SamConfig(name=name, weights=str(path), sha256=sha256(path)), CPU, download=False)


def refusal(path: Path, name: str = "mini") -> str:
    with pytest.raises(WeightsError) as fault:
        load(path, name)
    assert "\n" not in str(fault.value) and fault.value.exit_code == 4
    return str(fault.value)


def equal(a: Any, b: Any) -> bool:
    one, two = a.state_dict(), b.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


@pytest.fixture
def stored(nets: Nets, tmp_path: Path, small: Any) -> Path:
    path = tmp_path / "mini.pth"
    torch.save(nets[0]().state_dict(), path)
    return path


def test_a_registered_file_gives_its_network_frozen(stored: Path, nets: Nets) -> None:
    torch.manual_seed(1)
    sam = load(stored)
    assert equal(sam.net, nets[0]())
    assert (sam.name, sam.sha256, sam.device) == ("mini", sha256(stored), CPU)
    assert not sam.net.training and not any(p.requires_grad for p in sam.net.parameters())
    assert {p.dtype for p in sam.net.parameters()} == {torch.float32}


def test_an_official_file_is_fetched_and_loaded(
    stored: Path, shop: Any, small: Callable[..., None], nets: Nets
) -> None:
    shop.payload = stored.read_bytes()
    small(sha256=shop.sha256, url=shop.url)
    assert equal(load_sam(SamConfig(name="mini"), CPU, download=True).net, nets[0]())


def test_a_file_of_the_old_format_loads_too(nets: Nets, tmp_path: Path, small: Any) -> None:
    torch.save(nets[0]().state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert equal(load(tmp_path / "old.pth").net, nets[0]())


def test_the_embedded_network_loads_through_its_own_file(tmp_path: Path) -> None:
    net = build_sam()
    save_sam(net, tmp_path / "sam.safetensors")
    sam = load(tmp_path / "sam.safetensors", "tiny")
    assert torch.equal(sam.net.image_encoder.pos_embed, net.image_encoder.pos_embed.half().float())
    assert sam.net.image_encoder.img_size == 256


@pytest.mark.fault("W1")
def test_w1_a_truncated_file_is_refused_before_and_after_its_hash(stored: Path) -> None:
    whole = sha256(stored)
    stored.write_bytes(stored.read_bytes()[:-200])
    with pytest.raises(WeightsError, match=f"{whole} was expected"):
        load_sam(SamConfig(name="mini", weights=str(stored), sha256=whole), CPU, download=False)
    assert "cannot be read as PyTorch weights" in refusal(stored)


@pytest.mark.fault("W2", "R6")
def test_w2_a_flipped_bit_is_refused_before_anything_is_read(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, data = sha256(stored), bytearray(stored.read_bytes())
    data[len(data) // 2] ^= 16
    stored.write_bytes(data)
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("deserialised"))
    with pytest.raises(WeightsError, match="was expected"):
        load_sam(SamConfig(name="mini", weights=str(stored), sha256=whole), CPU, download=False)


@pytest.mark.parametrize(("width", "holds"), [(768, "sam=vit_b"), (1280, "sam=vit_h"), (48, "width 48")])
@pytest.mark.fault("W3")
def test_w3_another_variant_is_named_before_a_network_is_built(
    tmp_path: Path, small: Any, width: int, holds: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(segment_anything.sam_model_registry, "mini", lambda: pytest.fail("built"))
    path = tmp_path / "other.pth"
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(width, 3, 16, 16)}, path)
    text = refusal(path)
    assert "sam=mini was asked for" in text and holds in text and str(path) in text


@pytest.mark.fault("W3")
def test_w3_the_other_official_file_is_known_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "sam.pth"
    path.write_bytes(b"as if vit_h")
    vit_h = next(e for e in TABLE if e.option == "sam=vit_h")
    renamed = registry.replace(vit_h, sha256=sha256(path))
    monkeypatch.setattr(registry, "TABLE", (renamed, *(e for e in TABLE if e is not vit_h)))
    with pytest.raises(WeightsError, match=r"sam=vit_b: .* it holds sam=vit_h"):
        load_sam(SamConfig(name="vit_b", weights=str(path)), CPU, download=False)


@pytest.mark.parametrize("save", [torch.save, lambda bomb, path: path.write_bytes(pickle.dumps(bomb, protocol=2))])
@pytest.mark.fault("W4", "R10")
def test_w4_a_malicious_pickle_is_not_executed(bomb: Any, small: Any, tmp_path: Path, save: Any) -> None:
    path = tmp_path / "evil.pth"
    save({"state_dict": bomb}, path)
    assert "nothing in it was run" in refusal(path)
    assert not bomb.canary.exists()
    pickle.loads(pickle.dumps(bomb))
    assert bomb.canary.exists()  # the bomb is real


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated:FutureWarning")
@pytest.mark.fault("W5")
def test_w5_torchscript_given_as_sam_is_named(tmp_path: Path, small: Any) -> None:
    path = tmp_path / "script.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)
    assert "TorchScript archive" in refusal(path)


@pytest.mark.fault("W5")
def test_w5_clip_weights_given_as_sam_are_named(tmp_path: Path, nets: Nets, small: Any) -> None:
    path = tmp_path / "clip.pth"
    torch.save(nets[1]().state_dict(), path)
    assert "holds CLIP weights" in refusal(path)
    save_clip(build_clip(), torch.tensor([1]), tmp_path / "clip.safetensors")
    assert "no SAM weights" in refusal(tmp_path / "clip.safetensors", "tiny")


@pytest.mark.parametrize("key", ["model", "state_dict", "model_state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "module.sam."])
def test_what_wraps_a_state_dict_is_taken_off_and_said(
    key: str | None, prefix: str, tmp_path: Path, nets: Nets, small: Any, caplog: pytest.LogCaptureFixture
) -> None:
    net, path = nets[0](), tmp_path / "training.pth"
    wrapped = {f"{prefix}{name}": tensor for name, tensor in net.state_dict().items()}
    torch.save(wrapped if key is None else {key: wrapped, "epoch": 3, "optimizer": {"lr": 0.1}}, path)
    assert equal(load(path).net, net)
    said = [f"what it holds as '{key}'"] * (key is not None)
    said += [f"names without '{each}.'" for each in prefix.split(".") if each]
    assert [record.getMessage() for record in caplog.records] == (
        [f"sam=mini: of {path} were taken {', '.join(said)}"] if said else []
    )


def test_settings_are_no_network_and_another_average_beside_it_is_told(
    tmp_path: Path, nets: Nets, small: Any, caplog: pytest.LogCaptureFixture
) -> None:
    net, other, path = nets[0](), nets[0](), tmp_path / "training.pth"
    parts = {"model": {"depth": 2}, "state_dict": net.state_dict(), "model_ema": other.state_dict()}
    torch.save({**parts, 7: other.state_dict()}, path)
    assert equal(load(path).net, net)
    assert "what it holds as 'state_dict' (and not model_ema, 7, beside it)" in caplog.text


@pytest.mark.fault("W5")
def test_w5_a_checkpoint_without_a_network_is_told_from_a_state_dict(tmp_path: Path, small: Any) -> None:
    path = tmp_path / "training.pth"
    torch.save({"optimizer": {"lr": 0.1}, "epoch": 3}, path)
    assert "no plain state dict" in refusal(path)


def test_a_file_of_sams_classes_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    """`sam=medsam` is a folder on the hub; its makers give a file of ViT-B."""
    path = tmp_path / "medsam_vit_b.pth"
    path.write_bytes(b"not weights")
    entry = registry.find("sam", "medsam", str(path), "0" * 64)
    assert (entry.folder, entry.users, registry.named_by_shape("sam", entry.shape)) == (False, True, "vit_b")
    assert registry.find("sam", "medsam", str(tmp_path)).folder
    assert registry.find("sam", "sam_hq_vit_b", str(path)).folder


@pytest.mark.fault("W5")
def test_w5_text_given_as_sam_is_one_sentence(tmp_path: Path, small: Any) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("")
    assert "cannot be read as PyTorch weights" in refusal(path)
    path.write_text("not weights")
    assert "cannot be read as PyTorch weights" in refusal(path)


def test_tensors_that_leave_the_network_unfilled_are_refused(stored: Path) -> None:
    state = torch.load(stored, weights_only=True)
    del state["image_encoder.pos_embed"]
    torch.save(state, stored)
    assert "do not fit" in refusal(stored) and "pos_embed" in refusal(stored)


@pytest.mark.fault("W7")
def test_w7_absent_official_weights_name_place_and_hash(cache: Path) -> None:
    with pytest.raises(WeightsError) as fault:
        load_sam(SamConfig(name="vit_h"), CPU, download=False)
    assert str(cache / "weights" / "sam_vit_h_4b8939.pth") in str(fault.value)
    assert "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e" in str(fault.value)


@pytest.mark.slow
def test_random_vit_b_registered_by_hash_predicts_as_the_official_network(tmp_path: Path) -> None:
    from segment_anything import SamPredictor, sam_model_registry

    torch.manual_seed(0)
    net, path = sam_model_registry["vit_b"]().eval(), tmp_path / "vit_b.pth"
    torch.save(net.state_dict(), path)
    assert path.stat().st_size > 370_000_000
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    sam = load_sam(SamConfig(name="vit_b", weights=str(path), sha256=digest), CPU, download=False)
    path.unlink()  # nothing of the network lives in the file any more
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    masks = []
    for one in (net, sam.net):
        predictor = SamPredictor(one)
        predictor.set_image(image)
        masks.append(predictor.predict(box=np.array([10, 10, 50, 40]), return_logits=True))
    for a, b in zip(*masks, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.ci
def test_mobile_sam_is_that_of_kornia(tmp_path: Path) -> None:
    kornia = pytest.importorskip("kornia.models.sam")
    torch.manual_seed(0)
    theirs = kornia.Sam.from_config(kornia.SamConfig("mobile_sam")).eval()
    file = tmp_path / "mine.pt"
    torch.save({"model": theirs.state_dict()}, file)
    loaded = load(file, "mobile_sam")
    image = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    embedding = embed(loaded.net, image, Counters())[0]
    pixels = loaded.net.preprocess(torch.as_tensor(ResizeLongestSide(1024).apply_image(image)).permute(2, 0, 1)[None])
    box = torch.tensor([[[5.0, 6.0, 40.0, 30.0]]]) * 16
    with torch.no_grad():
        features = theirs.image_encoder(pixels)
        sparse, dense = theirs.prompt_encoder(points=None, boxes=box, masks=None)
        low, _ = theirs.mask_decoder(features, theirs.prompt_encoder.get_dense_pe(), sparse, dense, False)
    np.testing.assert_array_equal(embedding.features, features)
    expected = loaded.net.postprocess_masks(low, embedding.input_size, (48, 64))[0, 0]
    middle = float(expected.median())  # as drawn, all of an image is mask, or nothing
    ours = segment_box(loaded.net, embedding, np.float32([5, 6, 40, 30]), OrganConfig(threshold=middle), Counters())
    np.testing.assert_array_equal(ours, expected > middle)
    assert 0.2 < ours.mean() < 0.8


def test_a_file_of_another_sam_is_told_from_mobile_sam(tmp_path: Path) -> None:
    file = tmp_path / "mine.pt"
    torch.save({"image_encoder.patch_embed.seq.2.c.weight": torch.zeros(64, 32, 3, 3)}, file)
    said = refusal(file, "vit_b")
    assert "holds sam=mobile_sam" in said and said.endswith("use sam=mobile_sam")
