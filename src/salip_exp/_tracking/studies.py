"""A tuning study as events: its trials one by one, and what they came to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyarrow import csv

from salip_exp._files import from_json, read_small
from salip_exp._runs._manifest import commit, machine, versions
from salip_exp._settings.folders import File
from salip_exp._tracking.events import Artefact, Event, Log, Scalar, Summary, Table
from salip_exp._tracking.tracker import Tracker, started
from salip_exp._tuning.trials import Best
from salip_exp._tuning.tune import Result, StudyListener
from salip_exp.config import Config


class StudyTracker(StudyListener):
    """Tells a tracker of a study that is a run of its own."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.best = tracker, Best()

    def began(self, config: Config, folder: Path) -> None:
        """The study itself."""
        facts = {"packages": versions(), "commit": commit(), "machine": machine()}
        self.tracker.tell([started(config, folder, "tune", facts)])

    def trial(self, number: int, value: float | None) -> None:
        """The value of one more trial, and the best so far."""
        self.tracker.tell([_trial(self.best, number, value)])

    def finished(self, folder: Path, result: Result) -> None:
        """What it came to."""
        self.tracker.tell(_study_results(folder))

    def ended(self, code: int) -> None:
        """It is over."""
        self.tracker.end(code)


def _trial(best: Best, number: int, value: float | None) -> Log:
    """One more trial, and the best of all until then; None is the value of one that failed."""
    best.add(number, value)
    if value is None:
        return Log({"tuning/number": number})
    assert best.value is not None
    return Log({"tuning/number": number, "tuning/value": value, "tuning/best": best.value})


def _study_results(folder: Path) -> Iterator[Event]:
    """What a finished study came to, from its folder: `study.json`, `trials.csv`, `tuned.yaml`."""
    report = from_json(read_small(folder / File.study))
    table = csv.read_csv(folder / File.trials)
    yield Table("trials", table.column_names, [list(row.values()) for row in table.to_pylist()])
    yield Summary(dict(_headline(report)))
    yield Artefact("tuned", [folder / name for name in (File.tuned, File.trials, File.study)])


def trials(folder: Path) -> Iterator[Event]:
    """A finished study from its folder: all trials, then what they came to."""
    best = Best()
    for row in csv.read_csv(folder / File.trials).to_pylist():
        yield _trial(best, row["trial"], row["value"])
    yield from _study_results(folder)


def _headline(report: dict[str, Any]) -> Iterator[tuple[str, Scalar]]:
    """The winner with its setting, beside the default settings, on the tuning images and on those held out."""
    best = report["best"]
    yield "tuned/trial", best["trial"]
    yield "tuned/value", best["value"]
    for name, value in best["values"].items():
        yield f"tuned/{name}", value
    for settings in ("default", "winner"):
        for images in ("tuning_images", "held_out"):
            scored = report[settings][images]
            if scored is not None and scored["mean"] is not None:
                yield f"tuned/dsc {settings} {images}", scored["mean"]
