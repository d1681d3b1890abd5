"""A run as events: how it began, its cases one by one, what they came to."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet as pq

from salip_exp._runs.listener import Listener, Run
from salip_exp._settings.folders import File
from salip_exp._tracking.events import Artefact, Bars, Event, Log, Scalar, Summary, Table, Workspace
from salip_exp._tracking.pictures import doubtful_first, pictures
from salip_exp._tracking.studies import trials
from salip_exp._tracking.tracker import Tracker, started
from salip_exp.evaluation.statistics import RunningMean

_Value = TypeVar("_Value")
_KINDS = ("seconds", "part", "work", "cache")
"""What counters are of: the first word of their names."""
_RENAMED = {"iou": "miou"}
"""Scores whose mean has a name of its own."""


class RunTracker(Listener):
    """Tells a tracker of a run: how it began, its cases one by one with their running means, and what they came to."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker, self.failed = tracker, 0
        self.means: defaultdict[str, RunningMean] = defaultdict(RunningMean)

    def began(self, run: Run) -> None:
        """The run itself, and the trials where it tuned its settings first."""
        self.tracker.tell(beginning(run))

    def case(self, run: Run) -> None:
        """The scores of one more case."""
        record = run.records[-1]
        self.failed += record.failed
        values: dict[str, float] = {"case/number": len(run.records), "running/failed": self.failed}
        for name, score in renamed(record.scores).items():
            if score is not None:
                values |= {f"case/{name}": score, f"running/{name}": self.means[name].add(score)}
        if "total" in record.seconds:
            values["case/seconds"] = record.seconds["total"]
        self.tracker.tell([Log(values)])

    def finished(self, run: Run) -> None:
        """What it came to."""
        self.tracker.tell(results(run))

    def ended(self, code: int) -> None:
        """It is over."""
        self.tracker.end(code)


def beginning(run: Run) -> Iterator[Event]:
    """What is known before the first case."""
    yield started(run.config, run.folder, str(run.config.method), run.manifest)
    study = run.folder / File.own_study
    if (study / File.study).exists():
        yield from trials(study)


def results(run: Run) -> Iterator[Event]:
    """What a finished run came to."""
    figures, effort = headline(run.summary), _effort(run.manifest)
    yield Summary(figures | effort)
    yield pictures(run)
    yield groups(run.summary)
    yield Bars("lost", "DSC", run.summary["overall"]["losses"])
    yield cases(run.folder, doubtful_first(run))
    tables = (File.case_columns, File.case_table, File.volume_table, File.summary)
    yield Artefact("cases", [run.folder / name for name in tables if (run.folder / name).exists()])
    if run.config.tracker.workspace:
        scores = [name for name in estimates(run.summary["overall"]) if f"{name}/all" in figures]
        yield Workspace(
            f"{run.config.dataset.name}: scores by group",
            {
                "scores by group": {name: _of(figures, name) for name in scores},
                "losses and failures": {name: _of(figures, name) for name in ("lost", "failure", "status")},
                "counters": {kind: _of(effort, f"counters/{kind}", " ") for kind in _KINDS},
            },
        )


def headline(summary: Mapping[str, Any]) -> dict[str, Scalar]:
    """Every mean as `<score>/<group>`, e.g. `dsc/GE 1.5`, and over all cases `dsc/all`; what has none is not there.

    Also `n/<group>` (cases with a DSC), `failure/<class>` and `status/<status>` (cases), `lost/<stage>` (mean DSC), and
    `notes`.
    """
    values: dict[str, Scalar] = {"score_at": summary["score_at"]}
    for group, part in parts(summary).items():
        values[f"n/{group}"] = part["dsc"]["n"]
        for name, each in estimates(part).items():
            if each["mean"] is not None:
                values[f"{name}/{group}"] = each["mean"]
    overall = summary["overall"]
    values |= {f"failure/{name}": count for name, count in overall["failures"].items()}
    values |= {f"lost/{name}": each for name, each in overall["losses"].items()}
    values |= {f"status/{name}": count for name, count in overall["statuses"].items()}
    return values | ({"notes": "; ".join(summary["notes"])} if summary["notes"] else {})


def _effort(manifest: Mapping[str, Any]) -> dict[str, Scalar]:
    """Seconds by stage of a case and by part of the run, the networks' work, and what the cache was asked for.

    All in a section of their own, apart from the scores.
    """
    values: dict[str, Scalar] = {f"seconds {name}": each for name, each in manifest["case_seconds"].items()}
    for name, taken in manifest["stages"].items():
        values |= {f"part {name} {what}": each for what, each in taken.items() if each is not None}
    values |= {f"work {name}": each for name, each in manifest["counters"].items()}
    for stage, tally in manifest["cache"].items():
        if any(tally.values()):  # a stage that this method has
            values |= {f"cache {stage} {what}": each for what, each in tally.items()}
    return {f"counters/{name}": each for name, each in values.items()}


def _of(figures: Mapping[str, Scalar], name: str, then: str = "/") -> list[str]:
    return [each for each in figures if each.startswith(name + then)]


def parts(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The summary's parts by group, and over all cases as `all`."""
    return {**summary["groups"], "all": summary["overall"]}


def estimates(part: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The estimates of a part by score."""
    return renamed({name: each for name, each in part.items() if isinstance(each, Mapping) and "mean" in each})


def renamed(by_score: Mapping[str, _Value]) -> dict[str, _Value]:
    """The same under the names that scores have here."""
    return {_RENAMED.get(name, name): each for name, each in by_score.items()}


def groups(summary: Mapping[str, Any]) -> Table:
    """A row per group and score: n, mean, standard deviation and interval."""
    columns = ("n", "mean", "sd", "low", "high")
    rows = [
        [group, name, *(each.get(column) for column in columns)]
        for group, part in parts(summary).items()
        for name, each in estimates(part).items()
    ]
    return Table("groups", ["group", "score", *columns], rows)


def cases(folder: Path, order: Mapping[str, int]) -> Table:
    """A row per case, as in `cases.parquet`; lists are JSON.

    Args:
        folder: of the run.
        order: the place of each case by its id.
    """
    found = pq.read_table(folder / File.case_columns)
    sorted_rows = sorted(found.to_pylist(), key=lambda row: order[row["case_id"]])
    rows = [[_cell(value) for value in row.values()] for row in sorted_rows]
    return Table("cases", found.column_names, rows)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
