"""`task=cache` says what is kept and what it removed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salip_exp._commands import cache
from salip_exp.cache._base import content_key
from salip_exp.cache._files import entries, entry_path
from salip_exp.cache.store import DiskStore, Stage
from salip_exp.config import CacheConfig, Config
from salip_exp.errors import EnvironmentFault

Shown = Callable[..., list[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = DiskStore(tmp_path / "cache", 10**9)
    for i in range(3):
        store.put(Stage.view, content_key(i), {"x": np.zeros(500_000, np.uint8)})
    store.put(Stage.text, content_key(0), {"x": np.zeros(100, np.uint8)})
    return tmp_path / "cache"


@pytest.fixture
def shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> Shown:
    def lines(**keys: object) -> list[str]:
        chosen = CacheConfig(**({"folder": str(folder)} | keys))  # type: ignore[arg-type]
        assert cache.command(Config(cache=chosen), Path(), []) == 0
        return capsys.readouterr().out.splitlines()

    return lines


def cells(lines: list[str], stage: str) -> list[str]:
    line = next(line for line in lines if line.startswith(f"│ {stage} "))
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_every_stage_has_a_row(shown: Shown, folder: Path):
    lines = shown()
    assert cells(lines, "view")[1:3] == ["3", "1.5 MB"]
    assert cells(lines, "embedding") == ["embedding", "0", "0 B", "–", "–"]
    assert cells(lines, "all")[1:3] == ["4", "1.5 MB of 20.0 GB"]
    assert all(cells(lines, stage) for stage in Stage)
    assert any(line.split() == ["folder", str(folder)] for line in lines)
    assert any(line.startswith("disk ") and line.endswith(" free") for line in lines)
    assert not any("leftovers   " in line or "\x1b" in line for line in lines)


def test_what_was_removed_is_printed(shown: Shown, folder: Path):
    damaged = entry_path(folder, Stage.text, content_key(0))
    damaged.write_text("text")
    lines = shown(prune=True, disk_gb=0.0012)
    assert [line for line in lines if line.startswith("removed")] == [
        "removed 0 files, 0 B: left behind by killed processes",
        "removed 1 file, 4 B: damaged",
        "removed 1 file, 500.1 kB: least recently used, to keep cache.disk_gb=0.0012",
    ]
    assert cells(lines, "all")[1:3] == ["2", "1.0 MB of 1.2 MB"]
    assert any(line.startswith("removed 2 files, 1.0 MB: every entry") for line in shown(clear=True))
    assert cells(shown(), "all")[1:] == ["0", "0 B of 20.0 GB", "–", "–"]


def test_an_absent_folder_is_said_and_not_made(shown: Shown, tmp_path: Path):
    (line,) = shown(folder=str(tmp_path / "none"), clear=True)
    assert line.startswith(f"nothing is kept: {tmp_path / 'none' / 'stages' / 'v1'} does not exist")
    assert not (tmp_path / "none").exists()


def test_what_cannot_be_read_or_removed_is_one_sentence(shown: Shown, folder: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(EnvironmentFault, match=r"^4 files in .* could not be removed"):
            shown(clear=True)
    assert len(entries(folder)) == 4
    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", refuse)
        with pytest.raises(EnvironmentFault, match=r"cannot be read .*Permission denied"):
            shown()
