"""`confidence.calibration`: a finished run over a few labelled images, by which bounds on DSC are made."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
import pyarrow as pa

from salip_exp._settings.differences import flat_config, own_config
from salip_exp._settings.folders import File
from salip_exp.config import Config
from salip_exp.errors import ConfigError
from salip_exp.evaluation._assessment import Assessor, nonconformity, require_enough

_KEY = "confidence.calibration"
_SAME = (
    *("method", "dataset.k", "sam.", "clip.name", "clip.weights", "clip.sha256", "clip.min_score"),
    *("vdt.name", "vdt.file", "vdt.sentences", "area.", "view.", "retrieval.", "organ.", "prompt.", "score.at"),
    *("confidence.signals", "confidence.contrast", "repair.enabled", "repair.steps", "repair.margin"),
)
"""Beginnings of the keys that a run has to share with the one that it is calibrated by: with another cascade, another
repair or another DSC, what its confidence is off by is another thing."""
_FREE = ("sam.points_per_batch",)
_ROUNDING = 1e-6
"""By which a confidence may differ from that of the signals that were written beside it."""


def assessor_of(config: Config) -> Assessor:
    """Who says how good the predictions of a run are believed to be.

    Raises:
        ConfigError: `confidence.calibration` cannot be used, or `confidence.level` asks for more than it can say.
    """
    given = config.confidence.calibration
    return Assessor(config) if given is None else Assessor(config, residuals(Path(given).expanduser(), config))


def residuals(folder: Path, config: Config) -> list[float]:
    """How far the confidence of a run's cases exceeds their DSC (`nonconformity`): the worst of each subject, in order.

    Args:
        folder: of the finished run.
        config: of the run that is to be told.

    Raises:
        ConfigError: it is no finished run, was made with other networks, text or another fit, lacks confidence or
            targets, or has too few subjects for `confidence.level`.
    """
    _require_same(folder, config)
    table = _cases(folder)
    if {"confidence", "dsc", "subject"} > set(table.columns):
        raise ConfigError(f"{_KEY}={folder} was made by a version without confidence: run it again.")
    known = table.dropna(subset=["confidence", "dsc"])
    _require_same_fit(folder, known, config)
    each = [nonconformity(*pair) for pair in zip(known.confidence, known.dsc, strict=True)]
    subjects = known.group.astype(str) + "/" + known.subject.fillna(known.case_id).astype(str)
    worst = pd.Series(each, subjects.to_numpy(), dtype=float).groupby(level=0).max()
    require_enough(len(worst), config.confidence.level, f"in {_KEY}={folder}")
    return sorted(worst.tolist())


def _require_same_fit(folder: Path, known: pd.DataFrame, config: Config) -> None:
    """Refuse confidences that this version does not make of the signals beside them; 0 is said of empty masks."""
    assessor, names = Assessor(config, []), [*map(str, config.confidence.signals)]
    for row in known[known.confidence > 0].reindex(columns=["confidence", *names]).to_dict("records"):
        expected = assessor.expected({name: row[name] for name in names if pd.notna(row[name])})
        if expected is None or abs(expected - row["confidence"]) > _ROUNDING:
            raise ConfigError(
                f"{_KEY}={folder} was made with another fit of confidence than that of this version: run it again."
            )


def calibration_hash(config: Config) -> str | None:
    """SHA-256 of what a run is calibrated by; None where the package's own calibration is."""
    given = config.confidence.calibration
    if given is None:
        return None
    try:
        return hashlib.sha256((Path(given).expanduser() / File.case_columns).read_bytes()).hexdigest()
    except OSError as error:
        raise _no_run(Path(given)) from error


def _cases(folder: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(folder / File.case_columns)
    except (OSError, pa.ArrowInvalid) as error:
        raise _no_run(folder) from error


def _require_same(folder: Path, config: Config) -> None:
    was = own_config(folder)
    if was is None:
        raise _no_run(folder)
    if was.get("dataset.absent"):
        raise ConfigError(
            f"{_KEY}={folder} was asked wrongly (dataset.absent=true), and a bound is for images with the organ: give "
            "a run over such."
        )
    now = flat_config(config)
    for key in (each for each in {**now, **was} if each.startswith(_SAME) and each not in _FREE):
        if _text(was.get(key)) != _text(now.get(key)):
            raise ConfigError(
                f"{_KEY}={folder} was made with {key}={was.get(key)}, and this run has {key}={now.get(key)}."
            )


def _text(value: object) -> str:
    """A value as configurations write it: names of options for what they stand for."""
    return str([str(each) for each in value]) if isinstance(value, list) else str(value)


def _no_run(folder: Path) -> ConfigError:
    return ConfigError(f"{_KEY}={folder} is no folder of a finished run: give one over labelled images.")
