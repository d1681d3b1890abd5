"""What the cells would take one by one, counted from their records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from salip_exp._experiments.cells import Cell, Finished
from salip_exp._experiments.counting import computed, grid_size, naive, totals
from salip_exp._runs.records import CaseRecord
from salip_exp.config import Config, SamConfig

SAM = SamConfig(name="tiny", points_per_side=16)


def record(i: int, **facts: Any) -> CaseRecord:
    known = {"key": "", "fingerprint": "", "case_id": f"{i}", "dataset": "d", "group": "g", "volume": None}
    return CaseRecord(**{**known, "slice": None, "method": "m", "status": "ok", **facts})


def cell(folder: Path, method: str, records: list[CaseRecord], sam: SamConfig = SAM) -> Finished:
    config = Config(method=method, sam=sam)
    return Finished(Cell("hc18", str(method), ()), config, folder, records, [], lambda: None)  # type: ignore[arg-type,return-value]


def test_a_grid_has_the_crops_and_points_of_the_generator() -> None:
    assert grid_size(SAM) == (1, 256)
    layers = replace(SAM, points_per_side=32, crop_n_layers=1, crop_n_points_downscale_factor=2)
    assert grid_size(layers) == (5, 32**2 + 4 * 16**2)  # audit B5: 2048 prompts in 5 encoder passes
    assert grid_size(replace(layers, crop_n_layers=2)) == (21, 32**2 + 4 * 16**2 + 16 * 8**2)


def test_segment_everything_costs_every_crop_and_point_and_clip_what_the_filter_left(tmp_path: Path) -> None:
    pools = [record(i, n_pool=10, n_kept=7) for i in range(3)]
    salip = naive(cell(tmp_path, "salip", pools))
    assert salip == {"encoder_calls": 3, "decoded_points": 768, "clip_images": 21}
    layers = replace(SAM, crop_n_layers=1)
    assert naive(cell(tmp_path, "salip", pools, layers))["encoder_calls"] == 15
    oracle = naive(cell(tmp_path, "oracle", pools))
    assert oracle == {"encoder_calls": 3, "decoded_points": 768, "clip_images": 0}


def test_a_method_without_a_pool_encodes_once_and_one_without_sam_never(tmp_path: Path) -> None:
    plain = [record(i) for i in range(4)]
    assert naive(cell(tmp_path, "gt_sam", plain)) == {
        "encoder_calls": 4,
        "decoded_points": 0,
        "clip_images": 0,
    }
    assert sum(naive(cell(tmp_path, "unet", plain)).values()) == 0


def test_a_failed_case_is_not_counted(tmp_path: Path) -> None:
    cases = [record(0, n_pool=4, n_kept=4), record(1, status="failed(E_READ)")]
    assert naive(cell(tmp_path, "salip", cases))["encoder_calls"] == 1


def test_a_run_that_two_columns_share_counts_once(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder, calls in zip(folders, (2, 0), strict=True):
        folder.mkdir()
        (folder / "manifest.json").write_text(json.dumps({"counters": {"encoder_calls": calls, "box_decodes": 9}}))
    pools = [record(i, n_pool=1, n_kept=1) for i in range(2)]
    salip, same, boxes = (
        cell(folder, method, pools)
        for folder, method in [
            (folders[0], "salip"),
            (folders[0], "salip"),
            (folders[1], "oracle"),
        ]
    )
    assert computed(salip) == {"encoder_calls": 2, "decoded_points": 0, "clip_images": 0}
    counted = totals([salip, same, boxes])
    assert counted["cells"] == 2
    assert counted["computed"]["encoder_calls"] == 2
    assert counted["naive"] == {"encoder_calls": 4, "decoded_points": 1024, "clip_images": 2}
