"""Calibration by a run of the user's: what it gives, what it is refused for, and that it is part of keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from salip_exp._runs._calibration import residuals
from salip_exp._runs._manifest import write_config
from salip_exp._runs.records import recipe
from salip_exp._settings.folders import File
from salip_exp.config import ConfidenceConfig, Config, ScoreAt
from salip_exp.errors import ConfigError
from salip_exp.evaluation._assessment import fits, nonconformity


@pytest.fixture
def config(fakes) -> Config:
    return fakes.config()


SIGNALS = dict.fromkeys(fits()[0].usual, 0.95)
TOLD = fits()[0].expected(SIGNALS)
"""The confidence of a mask with these signals."""


def write(folder: Path, config: Config, n: int = 12, **columns) -> Path:
    folder.mkdir()
    write_config(folder, config)
    told = {"case_id": [f"c{i}" for i in range(n)], "group": ["all"] * n, "subject": [f"s{i // 2}" for i in range(n)]}
    told |= {"confidence": [TOLD] * n, "dsc": [0.8 - i / 100 for i in range(n)]}
    told |= {name: [value] * n for name, value in SIGNALS.items()}
    pd.DataFrame(told | columns).to_parquet(folder / File.case_columns)
    return folder


def by(config: Config, folder: Path, level: float = 0.8) -> Config:
    return replace(config, confidence=ConfidenceConfig(calibration=str(folder), level=level))


def test_a_subject_counts_by_its_worst_case(config: Config, tmp_path: Path) -> None:
    folder = write(tmp_path / "run", config)
    assert residuals(folder, by(config, folder)) == [nonconformity(TOLD, 0.8 - i / 100) for i in (1, 3, 5, 7, 9, 11)]


def test_what_cannot_be_used_is_refused_by_name(config: Config, tmp_path: Path) -> None:
    few = write(tmp_path / "few", config, dsc=[0.8] * 4 + [None] * 8)
    with pytest.raises(ConfigError, match=r"level=0.8 needs 4 subjects .* there are 2 in confidence.calibration=.*few"):
        residuals(few, by(config, few))
    other = write(tmp_path / "other", replace(config, method="sam_clip"))
    with pytest.raises(ConfigError, match="was made with method=sam_clip, and this run has method=salip"):
        residuals(other, by(config, other))
    weights = write(
        tmp_path / "weights", replace(config, sam=replace(config.sam, weights="other.pth", sha256="a" * 64))
    )
    with pytest.raises(ConfigError, match=r"was made with sam.weights=other.pth, and this run has sam.weights=None"):
        residuals(weights, by(config, weights))
    words = write(tmp_path / "words", replace(config, vdt=replace(config.vdt, sentences=["Another text."])))
    with pytest.raises(ConfigError, match=r"was made with vdt.sentences="):
        residuals(words, by(config, words))
    with pytest.raises(ConfigError, match="absent is no folder of a finished run"):
        residuals(tmp_path / "absent", config)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("repair", "enabled", True),
        ("confidence", "contrast", {"bone": "A bone."}),
        ("sam", "points_per_side", 4),
        ("area", "threshold", 0.5),
        ("organ", "multimask", True),
        ("score", "at", ScoreAt.native),
    ],
)
def test_another_cascade_another_repair_and_another_score_are_refused(
    config: Config, tmp_path: Path, section: str, key: str, value: object
) -> None:
    other = replace(config, **{section: replace(getattr(config, section), **{key: value})})
    folder = write(tmp_path / "other", other)
    with pytest.raises(ConfigError, match=rf"was made with {section}\.{key}.* and this run has {section}\.{key}"):
        residuals(folder, by(config, folder))


def test_what_changes_no_number_and_how_images_are_made_worse_may_differ(config: Config, tmp_path: Path) -> None:
    batch = replace(config.sam, points_per_batch=config.sam.points_per_batch + 1)
    folder = write(tmp_path / "other", replace(config, sam=batch, stress="blur:2", device="cpu", seed=7))
    assert len(residuals(folder, by(config, folder))) == 6


def test_a_run_that_was_asked_wrongly_calibrates_nothing(config: Config, tmp_path: Path) -> None:
    folder = write(tmp_path / "wrong", replace(config, dataset=replace(config.dataset, absent=True)), dsc=[0.0] * 12)
    with pytest.raises(ConfigError, match=r"wrong was asked wrongly \(dataset.absent=true\)"):
        residuals(folder, by(config, folder))


def test_confidences_of_another_fit_are_refused_whatever_they_are_made_of(config: Config, tmp_path: Path) -> None:
    good = write(tmp_path / "good", config, confidence=[TOLD] * 11 + [0.0])
    assert len(residuals(good, by(config, good))) == 6, "an empty mask has no confidence, whatever the signals"
    nothing: dict[str, list] = {"stability": [None] * 12}
    for name, columns in {"other": {"confidence": [TOLD] * 11 + [TOLD + 0.01]}, "nothing": nothing}.items():
        folder = write(tmp_path / name, config, **columns)
        with pytest.raises(ConfigError, match=f"{name} was made with another fit of confidence .* run it again"):
            residuals(folder, by(config, folder))


def test_keys_are_those_of_before_by_default_and_tell_what_a_bound_is_made_of(config: Config, tmp_path: Path) -> None:
    def key(confidence: ConfidenceConfig) -> str:
        return recipe(replace(config, confidence=confidence), {}, [], "cpu")

    one, other = (write(tmp_path / str(n), config, n) for n in (12, 14))
    assert key(ConfidenceConfig()) == key(ConfidenceConfig(name="another"))
    told = [key(ConfidenceConfig(calibration=str(each))) for each in (one, other)]
    assert len({key(ConfidenceConfig()), *told, key(ConfidenceConfig(level=0.8))}) == 4
    assert key(ConfidenceConfig(calibration=str(one.rename(tmp_path / "moved")))) == told[0], "wherever it lies"
