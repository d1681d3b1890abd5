"""Networks of a hub: fetched once, found again offline, pinned, and refused in words that say what to do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from salip_exp.errors import WeightsError
from salip_exp.networks._hub import located, read_folder
from salip_exp.networks.registry import Entry, find
from tests.networks.hub import Hub, commit

constants = pytest.importorskip("huggingface_hub.constants")
NAME = "hf:acme/net"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Called, it sets HF_HUB_OFFLINE."""
    return lambda: monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def ask(name: str = NAME, download: bool = True) -> Entry:
    return located(find("clip", name), download)


def refusal(name: str = NAME, download: bool = True) -> str:
    with pytest.raises(WeightsError) as fault:
        ask(name, download)
    assert "\n" not in str(fault.value) and fault.value.exit_code == 4
    return str(fault.value)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What a repository of open_clip's holds, and more that nobody wants."""
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"text_cfg": {}}}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "open_clip_pytorch_model.bin").write_bytes(bytes(range(256)) * 400)
    (folder / "pytorch_model.bin").write_bytes(b"of another library")
    (folder / "README.md").write_text("hello")
    return folder


def test_a_network_is_fetched_once_and_found_again_offline(hub: Hub, files: Path, offline: Callable[[], None]) -> None:
    newest = hub.add("acme/net", files)
    found = ask()
    assert (found.revision, read_folder(found).weights.name) == (newest, "open_clip_pytorch_model.bin")
    asked = {path.rpartition("/")[2] for _, path, _ in hub.asked if "/resolve/" in path}
    assert asked == {"open_clip_config.json", "tokenizer.json", "open_clip_pytorch_model.bin"}
    before = len(hub.asked)
    assert ask(download=False) == found
    offline()
    assert ask() == found and len(hub.asked) == before


def test_a_broken_download_goes_on_where_it_broke_off(hub: Hub, files: Path) -> None:
    hub.add("acme/net", files)
    hub.cuts.append(30_000)
    found = read_folder(ask())
    assert "bytes=30000-" in {wish for _, path, wish in hub.asked if path.endswith(".bin")}
    assert found.weights.read_bytes() == (files / "open_clip_pytorch_model.bin").read_bytes()


def test_a_pinned_revision_stays_what_it_is(hub: Hub, files: Path) -> None:
    first = hub.add("acme/net", files)
    before = ask()
    (files / "tokenizer.json").write_text('{"other": 1}')
    second = hub.add("acme/net", files)
    now = ask()
    assert (before.revision, now.revision) == (first, second) and before.sha256 != now.sha256
    pinned = ask(f"{NAME}@{first}")
    assert (pinned.revision, pinned.sha256) == (first, before.sha256)
    assert "has no revision nowhere" in refusal(f"{NAME}@nowhere")


def test_a_licence_that_is_missing_is_told_with_what_to_do(
    hub: Hub, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("acme/net", files)
    hub.token = "hf_secret"
    said = refusal()
    assert f"{hub.url}/acme/net is given to those who accept its licence" in said
    assert "hf auth login" in said and "the hub's answer: 401" in said
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    assert "answer: 401" in (said := refusal()) and "hf_other" not in said
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.accepted = False
    assert "answer: 403" in refusal()
    hub.accepted = True
    assert ask().path is not None


def test_what_is_not_there_is_told(hub: Hub, monkeypatch: pytest.MonkeyPatch, offline: Callable[[], None]) -> None:
    assert "does not exist, or is private (the hub's answer: 401" in refusal()
    assert f"was not fetched from {hub.url}/acme/net (download=false)" in refusal(download=False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://me:hunter2secret@127.0.0.1:9")
    assert "from http://me:***@127.0.0.1:9/acme/net (the hub cannot be reached)" in refusal()
    offline()
    assert "(HF_HUB_OFFLINE is set)" in refusal()


def test_folders_that_a_description_names_are_fetched_beside(hub: Hub, files: Path, tmp_path: Path) -> None:
    text = {"hf_model_name": "acme/tower", "hf_tokenizer_name": "acme/words"}
    (files / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"text_cfg": text}}))
    (files / "tokenizer.json").unlink()
    hub.add("acme/net", files)
    for name in ("tower", "words"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
        (tmp_path / name / "tokenizer.json").write_text("{}")
        hub.add(f"acme/{name}", tmp_path / name)
    found = ask()
    assert sorted(read_folder(found).beside) == ["acme/tower", "acme/words"]
    assert not any("/acme/tower/resolve" in path and path.endswith("tokenizer.json") for _, path, _ in hub.asked)
    assert ask(download=False) == found


def test_weights_that_no_library_here_reads_are_told(hub: Hub, files: Path) -> None:
    for each in files.glob("*.bin"):
        each.unlink()
    hub.add("acme/net", files)
    assert "holds no network that can be read" in refusal()


@pytest.mark.ci
def test_what_open_clip_lists_is_on_the_hub(hub: Hub, files: Path) -> None:
    pytest.importorskip("open_clip")
    hub.add("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", files)
    assert ask("open_clip:ViT-B-32/laion2b_s34b_b79k").sha256 == ask("hf:laion/CLIP-ViT-B-32-laion2B-s34B-b79K").sha256
    assert "open_clip lists no ViT-B-32/mine (ViT-B-32: openai, " in refusal("open_clip:ViT-B-32/mine")


def test_the_hash_of_a_folder_is_that_of_the_list_of_its_hashes(files: Path) -> None:
    (files / "pytorch_model.bin").unlink()
    (files / "README.md").unlink()
    entry = located(find("clip", "siglip2", str(files)), download=False)
    names = sorted(each.name for each in files.iterdir())
    listed = subprocess.run(["sha256sum", *names], cwd=files, capture_output=True, text=True, check=True).stdout
    whole = subprocess.run(["sha256sum"], input=listed, capture_output=True, text=True, check=True).stdout
    assert entry.sha256 == whole.split()[0] and entry.revision is None
    assert read_folder(entry).weights.name == "open_clip_pytorch_model.bin"
    with pytest.raises(WeightsError, match="no such folder"):
        located(find("clip", "siglip2", str(files / "gone")), download=False)


def test_what_transformers_reads_is_what_the_hash_is_over(tmp_path: Path) -> None:
    """Other weights beside must not stand for it, and parts of weights (of which it was over the first) are refused."""
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "open_clip_model.safetensors").write_bytes(b"of another library")
    for kind in ("first", "second"):
        (tmp_path / "model.safetensors").write_bytes(kind.encode())
        entry = located(find("clip", "pubmedclip", str(tmp_path)), download=False)
        assert read_folder(entry).weights.name == "model.safetensors"
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(WeightsError, match=r"weights in one file \(.*model\.safetensors"):
        located(find("clip", "pubmedclip", str(tmp_path)), download=False)


def test_an_official_network_needs_no_looking_for() -> None:
    entry = find("sam", "vit_b")
    assert located(entry, download=False) is entry
    assert commit({}) != commit({"a": b""})
