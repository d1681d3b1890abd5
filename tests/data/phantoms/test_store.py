"""Phantoms on disk: drawn once and whole, and read by the readers of the real data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Phantom
from salip_exp.data._phantoms import store
from salip_exp.data._phantoms.store import phantom_root
from salip_exp.data.datasets import open_dataset
from salip_exp.errors import EnvironmentFault

DRAWN = []


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and a writer of one file that keeps count."""

    def write(root: Path, n: int, seed: int) -> None:
        DRAWN.append((n, seed))
        (root / "a.txt").write_text(f"{n} {seed}")

    DRAWN.clear()
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(store.WRITERS, "hc18", write)
    return tmp_path / "cache" / "phantoms"


def test_phantoms_are_drawn_once(cache: Path) -> None:
    first = phantom_root("hc18", Phantom(n=3, seed=5))
    assert phantom_root("hc18", Phantom(n=3, seed=5)) == first and DRAWN == [(3, 5)]
    assert (first / "a.txt").read_text() == "3 5" and list(cache.iterdir()) == [first]


def test_another_number_or_seed_is_another_folder(cache: Path) -> None:
    roots = {phantom_root("hc18", Phantom(n=n, seed=seed)) for n in (1, 2) for seed in (1, 2)}
    assert len(roots) == 4


def test_a_drawing_that_fails_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(root: Path, n: int, seed: int) -> None:
        (root / "half.txt").write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(store.WRITERS, "hc18", half)
    with pytest.raises(EnvironmentFault, match=r"No space left.*SALIP_CACHE"):
        phantom_root("hc18", Phantom(n=3, seed=5))
    assert list(cache.iterdir()) == []


def test_of_two_that_draw_at_once_the_first_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(root: Path, n: int, seed: int) -> None:
        monkeypatch.undo()
        monkeypatch.setenv("SALIP_CACHE", str(cache.parent))
        monkeypatch.setitem(store.WRITERS, "hc18", lambda root, n, seed: (root / "first").touch())
        phantom_root("hc18", Phantom(n=3, seed=5))
        (root / "second").touch()

    monkeypatch.setitem(store.WRITERS, "hc18", slow)
    place = phantom_root("hc18", Phantom(n=3, seed=5))
    assert [path.name for path in place.iterdir()] == ["first"] and list(cache.iterdir()) == [place]


def test_a_cache_that_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(EnvironmentFault, match="SALIP_CACHE=DIR"):
        phantom_root("xray", Phantom(n=1))


def test_head_phantoms_are_read_by_the_reader_of_real_heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path))
    dataset = open_dataset(typed(compose(["dataset=phantom_hc18", "dataset.phantom.n=2"])).dataset, 1)
    assert [ref.case_id for ref in dataset.refs] == ["001_HC", "002_HC"]
    case = dataset.refs[0].load()
    assert case.mask is not None and case.spacing is not None and case.group == "Ultrasound"
    circle = case.facts["head_circumference_mm"] ** 2 / (4 * np.pi)
    assert 0.7 < case.mask.sum() * case.spacing[0] * case.spacing[1] / circle < 1.05


@pytest.mark.slow
def test_chest_and_brain_phantoms_are_read_by_the_readers_of_real_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path))
    chests = open_dataset(typed(compose(["dataset=phantom_xray", "dataset.phantom.n=2"])).dataset, 1)
    assert len(chests.refs) == 2 and len(chests.excluded) == 1 and chests.refs[0].load().mask is not None
    brains = open_dataset(typed(compose(["dataset=phantom_cc359", "dataset.phantom.n=6"])).dataset, 1)
    assert len(brains.refs) == 36 and len({ref.group for ref in brains.refs}) == 6
    for ref in brains.refs[::6]:
        case = ref.load()
        assert case.mask is not None and case.mask.any()
        assert case.image[case.mask].mean() > case.image[~case.mask].mean()
