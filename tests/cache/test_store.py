"""The configuration's store, and the two halves of the layered one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from salip_exp.cache._base import content_key
from salip_exp.cache.store import DiskStore, Layered, MemoryStore, NoStore, Stage, folder_of, open_store
from salip_exp.config import CacheConfig, CacheMode, Config
from salip_exp.errors import EnvironmentFault

TEXT = Stage.text
KEY = content_key("entry")


@pytest.mark.parametrize(
    ("mode", "kind"), [(CacheMode.off, NoStore), (CacheMode.memory, MemoryStore), (CacheMode.disk, Layered)]
)
def test_the_mode_chooses_the_store(mode: CacheMode, kind: type, tmp_path: Path):
    assert type(open_store(CacheConfig(mode, folder=str(tmp_path / "new" / "cache")))) is kind
    assert (tmp_path / "new").exists() == (mode is CacheMode.disk)


def test_off_keeps_nothing_and_counts(tmp_path: Path):
    store = NoStore()
    store.put(TEXT, KEY, {"x": np.zeros(1)})
    with store.lock(TEXT, KEY), store.lock(TEXT, KEY):
        assert store.get(TEXT, KEY) is store.peek(TEXT, KEY) is store.reread(TEXT, KEY) is None
    assert store.stats[TEXT].misses == 1


def test_the_folder_is_the_one_chosen_else_salip_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "from environment"))
    assert folder_of(CacheConfig()) == tmp_path / "from environment"
    assert folder_of(CacheConfig(folder="here")) == Path("here")
    assert folder_of(CacheConfig(folder="~/here")) == Path.home() / "here"


@pytest.mark.fault("X7")
def test_a_folder_that_cannot_be_written_is_told_at_once(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "cache", Path("/proc/self/cache")):
        with pytest.raises(EnvironmentFault, match="cannot be written") as caught:
            open_store(CacheConfig(folder=str(place)))
        sentence = str(caught.value)
        assert "\n" not in sentence and str(place) in sentence
        assert all(word in sentence for word in ("cache.folder=DIR", "SALIP_CACHE", "cache=memory"))


def test_memory_answers_before_the_disk_and_both_count_in_one_tally(tmp_path: Path):
    def layered() -> Layered:
        return Layered(MemoryStore(10**6), DiskStore(tmp_path, 10**9))

    first = layered()
    assert first.get(TEXT, KEY) is None
    first.put(TEXT, KEY, {"x": np.arange(3)})
    first.get(TEXT, KEY)
    second = layered()
    found = second.get(TEXT, KEY)
    assert found is not None and second.get(TEXT, KEY)["x"] is found["x"]
    tallies = [store.stats[TEXT] for store in (first, second)]
    assert [(each.misses, each.hits_memory, each.hits_disk) for each in tallies] == [(1, 1, 0), (0, 1, 1)]
    assert tallies[0].bytes_written == tallies[1].bytes_read > 0


def test_budgets_are_those_of_the_configuration(tmp_path: Path):
    small = CacheConfig(folder=str(tmp_path), memory_mb=1, disk_gb=0.001)
    store = open_store(small)
    store.put(TEXT, KEY, {"x": np.zeros(950_000, np.uint8)})
    assert store.get(TEXT, KEY) is not None
    assert (store.stats[TEXT].hits_memory, store.stats[TEXT].unwritten) == (1, 0)
    store.put(TEXT, KEY, {"x": np.zeros(1_010_000, np.uint8)})  # fits a mebibyte, and not a megabyte
    assert (store.get(TEXT, KEY) is not None, store.stats[TEXT].unwritten) == (True, 1)


@pytest.mark.parametrize("mode", CacheMode)
def test_every_mode_survives_being_written_as_yaml(mode: CacheMode):
    text = OmegaConf.to_yaml(OmegaConf.structured(Config(cache=CacheConfig(mode))))
    again = OmegaConf.merge(OmegaConf.structured(Config), OmegaConf.create(text))
    assert again.cache.mode is mode
