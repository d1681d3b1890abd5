"""A name stands for one file and its hash; the user's own file takes its place by hash."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from salip_exp.errors import ConfigError, WeightsError
from salip_exp.networks import registry
from salip_exp.networks.registry import TABLE, Entry, find

OFFICIAL = [entry for entry in TABLE if entry.url]


@pytest.mark.parametrize("name", ["hf:acme/net", "hf:acme/net.v2@main", "hf:acme/net@refs/pr/1"])
def test_a_network_of_the_hub_needs_no_entry(name: str) -> None:
    entry = find("clip", name)
    assert entry.folder and f"{entry.repo}" == name.removeprefix("hf:").partition("@")[0]
    assert (entry.revision or "") == name.partition("@")[2] and entry.option == f"clip={name}"


@pytest.mark.parametrize("name", ["hf:net", "hf:a/b/c", "hf:a/b@", "hf:../../etc", "acme/net"])
def test_what_is_no_address_on_the_hub_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="or hf:OWNER/NAME of the hub"):
        find("clip", name)


@pytest.mark.parametrize("entry", OFFICIAL, ids=lambda e: e.option)
def test_official_entries_are_complete(entry: Entry) -> None:
    assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.url is not None and entry.url.startswith("https://") and entry.url.endswith("/" + entry.file)
    assert entry.size is not None and entry.size > 40_000_000
    assert find(entry.network, entry.name) == entry


def test_clips_own_addresses_and_hashes_are_the_packages() -> None:
    from salip_exp.networks.packages import clip

    for name, theirs in {"vit_l_14": "ViT-L/14", "vit_b_32": "ViT-B/32"}.items():
        assert find("clip", name).url == clip.clip._MODELS[theirs]


def test_names_and_shapes_are_unique() -> None:
    assert len({(e.network, e.name) for e in TABLE}) == len(TABLE)
    shapes = [(e.network, e.shape) for e in TABLE if not e.folder]
    assert len(set(shapes)) == len(shapes)


@pytest.mark.parametrize(("network", "name", "near"), [("sam", "vit_x", "vit_"), ("clip", "vit_l_4", "vit_l_14")])
def test_an_unknown_name_gets_the_nearest_and_the_list(network: registry.Network, name: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {near}.*choose one of .*tiny"):
        find(network, name)


def test_a_hash_without_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"sam\.weights is not"):
        find("sam", "vit_b", sha256="0" * 64)


@pytest.mark.parametrize("sha256", ["", "abc", "g" * 64, "0" * 63, "0" * 65])
def test_what_is_no_sha256_is_refused(sha256: str) -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        find("clip", "vit_l_14", "mine.pt", sha256)


def test_the_users_file_keeps_the_variant_and_takes_its_own_hash() -> None:
    entry = find("sam", "vit_b", "mine.pth", "AB" * 32)
    assert (entry.path, entry.sha256, entry.shape, entry.users) == (Path("mine.pth"), "ab" * 32, (768,), True)


def test_the_embedded_hash_is_the_one_in_the_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{'12' * 32}  sam_tiny.safetensors\n")
    monkeypatch.setattr(registry, "EMBEDDED", tmp_path)
    assert find("sam", "tiny").sha256 == "12" * 32
    with pytest.raises(WeightsError, match=r"clip_tiny\.safetensors are not part of this installation"):
        find("clip", "tiny")


def test_the_registry_needs_no_torch() -> None:
    code = "import sys; from salip_exp.networks import weights; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
