"""Weights that are not what they are said to be, through the command line: exit 4, before anything in them is run."""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from salip_exp.networks.registry import EMBEDDED

PHANTOMS = ("dataset=phantom_hc18", "dataset.phantom.n=2", "progress=false", "figures=none", "device=cpu")
TASKS = ("run", "check")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def given(network: str, name: str, path: Path, digest: str | None = None) -> tuple[str, ...]:
    """Overrides that give a file of the user's by its hash."""
    return (f"{network}={name}", f"{network}.weights={path}", f"{network}.sha256={digest or sha256(path)}")


def flat(ended: Any) -> str:
    """All that was said, without a table's lines."""
    return "".join((ended.out + ended.err).replace("│", "").split())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the embedded SAM, to be damaged."""
    path = tmp_path / "sam.safetensors"
    path.write_bytes((EMBEDDED / "sam_tiny.safetensors").read_bytes())
    return path


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("row", [pytest.param(each, marks=pytest.mark.fault(each, "R6")) for each in ("W1", "W2")])
def test_damaged_weights_end_with_4_and_both_hashes(typed: Any, copy: Path, row: str, task: str) -> None:
    whole = sha256(copy)
    content = bytearray(copy.read_bytes())
    if row == "W1":
        del content[-1000:]
    else:
        content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    ended = typed(*PHANTOMS, "sam=tiny", f"sam.weights={copy}", f"task={task}")
    assert ended.code == 4
    assert whole in flat(ended)
    assert sha256(copy) in flat(ended)


@pytest.mark.fault("W3")
@pytest.mark.parametrize("task", TASKS)
def test_another_variant_ends_with_4_and_both_names(typed: Any, tmp_path: Path, task: str) -> None:
    path = tmp_path / "sam.pth"
    torch.save({"image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}, path)
    ended = typed(*PHANTOMS, *given("sam", "vit_h", path), f"task={task}")
    assert ended.code == 4
    assert "sam=vit_hwasaskedfor" in flat(ended)
    assert "sam=vit_b(" in flat(ended)


class Canary:
    """What a pickle does to whoever opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return subprocess.check_call, ([sys.executable, "-c", f"open({str(self.path)!r}, 'w')"],)


@pytest.mark.fault("W4", "R10")
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("network", "name"), [("sam", "vit_b"), ("clip", "vit_b_32")])
def test_a_malicious_pickle_is_never_run(typed: Any, tmp_path: Path, network: str, name: str, task: str) -> None:
    canary, path = tmp_path / "canary", tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps({"image_encoder.patch_embed.proj.weight": Canary(canary)}, protocol=2))
    ended = typed(*PHANTOMS, *given(network, name, path), f"task={task}")
    assert ended.code == 4
    assert "nothinginitwasrun" in flat(ended)
    assert not canary.exists()
    pickle.loads(path.read_bytes())
    assert canary.exists(), "the pickle is harmless, and the test shows nothing"


@pytest.mark.ci
@pytest.mark.fault("W5")
def test_another_format_ends_with_4_and_says_which(typed: Any, tmp_path: Path) -> None:
    script, plain = tmp_path / "script.pt", tmp_path / "plain.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), script)
    torch.save({"a": torch.zeros(2)}, plain)
    ended = typed(*PHANTOMS, *given("sam", "vit_b", script))
    assert (ended.code, "TorchScript archive" in ended.complaint) == (4, True)
    ended = typed(*PHANTOMS, *given("clip", "vit_b_32", plain))
    assert (ended.code, "no CLIP transformer" in ended.complaint) == (4, True)


@pytest.mark.ci
@pytest.mark.fault("W7")
def test_absent_weights_end_with_4_and_no_network_is_asked(
    typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def refuse(*address: Any, **options: Any) -> None:
        asked.append(address)
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "cache"))
    expected = "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e"
    for arguments in (("download=false",), ("task=check", "check.json=true"), ("task=check", "download=false")):
        ended = typed(*PHANTOMS, "sam=vit_h", *arguments)
        assert ended.code == 4
        assert expected in flat(ended)
        assert str(tmp_path / "cache" / "weights") in flat(ended)
    assert asked == []
    ended = typed(*PHANTOMS, "sam=vit_h")
    assert (ended.code, "cannot be reached" in ended.complaint) == (4, True)
    assert asked


@pytest.mark.fault("W7")
def test_every_absent_file_is_listed_at_once(typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "cache"))
    ended = typed(*PHANTOMS, "sam=vit_b", "clip=vit_l_14", "task=check", "check.json=true")
    said = [each["said"] for each in json.loads(ended.out)["findings"] if each["area"] == "weights"]
    assert ["sam_vit_b_01ec64.pth" in said[0], "ViT-L-14.pt" in said[1]] == [True, True]
