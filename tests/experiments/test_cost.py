"""What a case takes is told of cases that asked every network, and of a GPU where there is one."""

from __future__ import annotations

import json
import mmap
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salip_exp import _timing
from salip_exp._experiments.cost import cost_of, told
from salip_exp._timing import Parts
from salip_exp.config import Config

DONE = {"encoder_calls": 1, "decoded_points": 64, "clip_images": 3, "box_decodes": 1}


def record(seconds: float, work: dict[str, int], n_pool: int | None = 4, failed: bool = False) -> Any:
    around = {"load": 50.0, "score": 50.0, "attribution": 50.0, "confidence": 50.0, "total": 250.0}
    stages = {"everything": seconds / 2, "organ": seconds / 2}
    kept = None if n_pool is None else 3
    return SimpleNamespace(
        seconds=stages | around, work=work, n_pool=n_pool, n_kept=kept, boxes=[[0, 0, 1, 1]], failed=failed
    )


def cell(folder: Path, records: list[Any], method: str = "salip", manifest: dict[str, Any] | None = None) -> Any:
    if manifest is not None:
        (folder / "manifest.json").write_text(json.dumps(manifest))
    return SimpleNamespace(folder=folder, records=records, config=Config(method=method))


@pytest.mark.parametrize("cached", list(DONE))
def test_what_came_from_a_cache_is_not_counted(tmp_path: Path, cached: str) -> None:
    records = [record(9.0, DONE | {cached: 0}), record(2.0, DONE), record(1.0, DONE, failed=True)]
    found = cost_of(cell(tmp_path, records))
    assert (found.seconds, found.n, found.memory_mib, found.gpu_mib, found.device) == (2.0, 1, None, None, "CPU")


def test_a_method_is_held_to_what_it_asks(tmp_path: Path) -> None:
    only = {"encoder_calls": 1, "box_decodes": 1}
    assert cost_of(cell(tmp_path, [record(2.0, only, None)], "gt_sam")).seconds == 2.0
    assert cost_of(cell(tmp_path, [record(2.0, only, None)], "saliency")).seconds is None
    assert cost_of(cell(tmp_path, [record(2.0, {}, None)], "unet")).seconds == 2.0


@pytest.mark.parametrize("boxes", [[], [[5, 5, 5, 5]]])
def test_a_case_without_a_box_took_what_it_took_to_find_none(tmp_path: Path, boxes: list[list[float]]) -> None:
    nothing = record(2.0, {"clip_images": 1}, None)
    nothing.boxes = boxes
    assert cost_of(cell(tmp_path, [nothing], "grounded_sam")).seconds == 2.0
    assert cost_of(cell(tmp_path, [record(2.0, {"clip_images": 1}, None)], "grounded_sam")).seconds is None


def test_memory_is_that_of_the_gpu_while_cases_were_done(tmp_path: Path) -> None:
    stages = {"models": {"gpu_peak_mib": 900.0}, "cases": {"gpu_peak_mib": 700.0, "held_mib": 800.0}}
    manifest = {"stages": stages, "machine": {"gpu": "G"}}
    found = cost_of(cell(tmp_path, [record(3.0, DONE), record(1.0, DONE)], manifest=manifest))
    assert (found.seconds, found.memory_mib, found.gpu_mib) == (2.0, 800.0, 700.0)
    assert "on G;" in told([found]) and "no device" in told([])


def test_a_part_tells_its_own_peak_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [8 << 20]
    gpu = SimpleNamespace(
        max_memory_allocated=lambda: held[0], reset_peak_memory_stats=lambda: held.__setitem__(0, 1 << 20)
    )
    monkeypatch.setattr(_timing, "_gpu", lambda: gpu)
    parts = Parts()
    with parts("cases"):
        pass
    assert parts.taken["cases"]["gpu_peak_mib"] == 1.0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux forgets what was held before")
def test_a_part_tells_its_own_peak_of_memory() -> None:
    parts = Parts()
    with parts("large"), mmap.mmap(-1, 64 << 20) as held:  # pages of its own, which go back to the system
        held.write(b"x" * (64 << 20))
    with parts("small"):
        pass
    large, small = parts.taken["large"], parts.taken["small"]
    assert large["held_mib"] - small["held_mib"] > 50
    assert small["peak_mib"] >= large["peak_mib"] >= large["held_mib"]


def test_a_system_that_cannot_forget_tells_no_peak_of_a_part(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_timing, "_CLEAR", tmp_path / "absent" / "file")
    parts = Parts()
    with parts("cases"):
        pass
    assert "held_mib" not in parts.taken["cases"] and parts.taken["cases"]["peak_mib"]
