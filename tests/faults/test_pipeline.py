"""What the stages cannot use ends in a status that is counted, through the command line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

# (row, what is set, the status of every case)
ENDS = [
    ("P1", ("sam.pred_iou_thresh=1", "sam.crop_n_layers=1"), "no_masks"),
    ("P1", ("sam.stability_score_thresh=1", "sam.pred_iou_thresh=1"), "no_masks"),
    ("P2", ("area.threshold=1e-6",), "all_filtered"),
    ("P4", ("dataset.k=16",), "k_short"),
    ("P7", ("method=gt_sam", "prompt.min_component_area=100000"), "all_filtered"),
]


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        pytest.param(overrides, status, marks=pytest.mark.fault(row, "R7"), id="-".join([row, *overrides]))
        for row, overrides, status in ENDS
    ],
)
def test_every_case_ends_in_a_status_and_counts(
    typed: Any,
    data: Path,
    folder: tuple[str, ...],
    helpers: Any,
    tmp_path: Path,
    overrides: tuple[str, ...],
    status: str,
) -> None:
    ended = typed(*folder, f"dataset.root={data}", "hydra.run.dir=run", *overrides)
    assert (ended.code, ended.err) == (0, "")
    table = helpers.rows(tmp_path / "run")
    assert {row["status"] for row in table.values()} == {status}
    scores = [float(row["dsc"]) for row in table.values()]
    assert all(0 <= each <= 1 for each in scores)
    if status in ("no_masks", "all_filtered"):
        assert scores == [0.0] * 4
    overall = helpers.summary(tmp_path / "run")["overall"]
    assert overall["statuses"] == {status: 4}
    assert (overall["dsc"]["n"], overall["dsc"]["mean"]) == (4, pytest.approx(np.mean(scores)))


@pytest.mark.fault("P7")
def test_every_component_of_a_target_is_prompted_and_specks_are_not(
    typed: Any, data: Path, folder: tuple[str, ...], helpers: Any, tmp_path: Path
) -> None:
    mask = np.zeros((64, 64), np.uint8)
    for corner in (4, 24, 44):
        mask[corner : corner + 12, corner : corner + 12] = 255
    mask[60, 2] = 255
    helpers.save(data / "masks" / "good_0_mask.png", mask)
    assert typed(*folder, f"dataset.root={data}", "method=gt_sam", "hydra.run.dir=run").code == 0
    record = helpers.rows(tmp_path / "run")["good_0"]
    assert record["boxes"].count("[") == 1 + 3


@pytest.mark.fault("P5", "R7")
def test_a_score_that_is_not_finite_fails_its_case_and_no_other(
    typed: Any, data: Path, folder: tuple[str, ...], helpers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salip_exp.cascade import cached_clip as clip_stages

    real, seen = clip_stages.ClipStages.scores, SimpleNamespace(calls=0)

    def broken(*arguments: Any) -> Any:
        seen.calls += 1
        by_text, by_sentence = real(*arguments)
        return (by_text * np.nan if seen.calls == 2 else by_text), by_sentence  # of the second case

    monkeypatch.setattr(clip_stages.ClipStages, "scores", broken)
    ended = typed(*folder, f"dataset.root={data}", "hydra.run.dir=run", "cache=off")
    assert ended.code == 5
    assert "good_1" in ended.complaint
    statuses = [row["status"] for row in helpers.rows(tmp_path / "run").values()]
    assert statuses == ["ok", "failed(E_SCORE)", "ok", "ok"]
