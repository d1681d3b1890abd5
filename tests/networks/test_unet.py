"""U-Net: its input, its file, and what a file that is no U-Net's says."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from salip_exp.config import Arithmetic
from salip_exp.errors import EnvironmentFault, WeightsError
from salip_exp.networks.device import sped_up
from salip_exp.networks.unet import (
    _METADATA,
    LoadedUnet,
    Trained,
    build_unet,
    load_unet,
    logits_of,
    squashed,
    standardised,
    weights_file,
)
from salip_exp.networks.weights import sha256_of

CPU = torch.device("cpu")
TRAINED = Trained(side=32, channels=(4, 8), dataset="hc18", subjects=("001", "002"), key="k" * 64)


@pytest.fixture
def net() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_unet(TRAINED.channels).eval()


@pytest.fixture
def file(net, tmp_path: Path) -> Path:
    path = tmp_path / "unet.safetensors"
    path.write_bytes(weights_file(net.state_dict(), TRAINED))
    return path


def test_weights_come_back_with_what_they_are(net, file) -> None:
    loaded = load_unet(str(file), CPU)
    assert (loaded.trained, loaded.name, loaded.sha256) == (TRAINED, "hc18", sha256_of(file))
    assert not loaded.net.training and not any(each.requires_grad for each in loaded.net.parameters())
    for name, tensor in net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[name], tensor)


def test_the_same_weights_give_the_same_file(net, file) -> None:
    assert weights_file(net.state_dict(), TRAINED) == file.read_bytes()
    assert weights_file(net.state_dict(), replace(TRAINED, dataset="xray")) != file.read_bytes()


def test_logits_have_the_size_of_the_image_and_are_computed_at_the_input_side(net, file) -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, 71, 3), np.uint8)
    loaded = load_unet(str(file), CPU)
    logits = logits_of(loaded, image)
    assert (logits.shape, logits.dtype) == ((50, 71), np.float32)
    small = squashed(image, 32)
    with torch.no_grad():
        expected = net(standardised(torch.from_numpy(small).permute(2, 0, 1)[None].float()))[0, 0]
    np.testing.assert_allclose(logits_of(loaded, small), expected, atol=1e-5)


def test_brightness_and_contrast_do_not_matter(file) -> None:
    image = np.random.default_rng(0).integers(40, 100, (32, 32, 3), np.uint8)
    loaded = load_unet(str(file), CPU)
    np.testing.assert_allclose(logits_of(loaded, image), logits_of(loaded, image * 2 + 30), atol=1e-4)


def test_a_constant_image_has_finite_logits(file) -> None:
    assert np.isfinite(logits_of(load_unet(str(file), CPU), np.zeros((40, 40, 3), np.uint8))).all()


def test_bfloat16_is_named_and_near(net) -> None:
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    exact = LoadedUnet(net, TRAINED.dataset, "a" * 64, CPU, trained=TRAINED)
    before = logits_of(exact, image)
    fast = sped_up(exact, Arithmetic.bf16, compiled=False)
    after = logits_of(fast, image)
    assert fast.arithmetic == "float32, bf16"
    assert 0 < np.abs(after - before).max() < 0.1 * np.abs(before).max()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda whole: whole[: len(whole) // 2], "is damaged or no U-Net"),
        (lambda whole: b"", "is damaged or no U-Net"),
        (lambda whole: whole.replace(_METADATA.encode(), _METADATA.encode()[::-1]), "is damaged or no U-Net"),
        (lambda whole: whole.replace(b'\\"version\\": 1', b'\\"version\\": 9'), "version 9, this program reads 1"),
        (lambda whole: whole.replace(b'\\"channels\\": [4, 8]', b'\\"channels\\": [4, 9]'), "does not fit a U-Net of"),
    ],
)
def test_a_file_that_cannot_be_used_says_why_and_how_to_train(file, spoil, message) -> None:
    spoiled = spoil(file.read_bytes())
    assert spoiled != file.read_bytes()
    file.write_bytes(spoiled)
    with pytest.raises(WeightsError, match=message) as error:
        load_unet(str(file), CPU)
    assert "task=train method=unet" in str(error.value)


def test_weights_of_something_else_are_refused(tmp_path) -> None:
    save_file({"a": torch.ones(3)}, tmp_path / "other.safetensors", {_METADATA: json.dumps({"side": 3})})
    with pytest.raises(WeightsError, match="damaged or no U-Net of salip_exp"):
        load_unet(str(tmp_path / "other.safetensors"), CPU)


@pytest.mark.parametrize("absent", [None, "nowhere/unet.safetensors"])
def test_absent_weights_name_the_command_that_makes_them(absent) -> None:
    with pytest.raises(WeightsError, match="python -m salip_exp task=train method=unet"):
        load_unet(absent, CPU)


@pytest.mark.fault("I11")
def test_a_file_that_torch_cannot_map_is_a_fault_of_the_machine(monkeypatch, file) -> None:
    def refused(*_, **__):
        raise RuntimeError("unable to open file <unet.safetensors> in read-only mode: Permission denied (13)")

    monkeypatch.setattr("safetensors.safe_open", refused)
    with pytest.raises(EnvironmentFault, match=r"cannot be read \(unable to open file .*: get access to it"):
        load_unet(str(file), torch.device("cpu"))


def test_without_monai_it_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "monai.networks.nets", None)
    with pytest.raises(EnvironmentFault, match=r"needs MONAI, which is not installed: pip install 'salip_exp\[unet\]'"):
        build_unet([4, 8])
