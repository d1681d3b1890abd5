"""`index.html`, the page over all runs and studies below a folder, and `compare.html` for any two of the runs."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

from salip_exp._reports.page import address, thumbnails, write_html
from salip_exp._runs.folder import RunFolder, StudyFolder, is_whole_summary
from salip_exp._runs.records import CaseRecord, subjects_of
from salip_exp._settings import names
from salip_exp._settings.folders import File
from salip_exp._wording import is_between
from salip_exp.evaluation.statistics import SHARE, compare

PICTURES = 3  # of each run on the index

LATEST = 30  # runs of a data set: hundreds, two by two, would take minutes

Scores = Sequence[tuple[str, str, float | None]]

"""Id, subject (empty: not told) and DSC of every case."""


@dataclass(frozen=True)
class Row:
    """What the pages over all runs show of one; plain values, so that JSON keeps it from one report to the next.

    Attributes:
        label: what the run is (`runs.folder.State`).
        why: one sentence for any label but `finished` and `running`.
        unreadable: case files that cannot be read.
        cases: those that can.
        n_used: cases that the run is to do; None where its manifest does not say.
        started: when, or None.
        summary: of a finished run, else empty.
        dataset: empty where neither summary nor cases tell it.
        method: the same.
        words: what it is called by (`_settings.names`); None where it does not tell.
        failed: cases without a prediction.
        thumbnails: its first overlays, small.
        scores: of its cases.
    """

    label: str
    why: str
    unreadable: int
    cases: int
    n_used: int | None
    started: str | None
    summary: Mapping[str, Any]
    dataset: str
    method: str
    thumbnails: Sequence[Mapping[str, Any]]
    scores: Scores
    words: Sequence[str] | None = None
    failed: int = 0


def row_of(run: RunFolder) -> Row:
    """The row of a run that has been read."""
    first = run.records[0] if run.records else None
    told = run.summary or ({"dataset": first.dataset, "method": first.method} if first else {})
    return Row(
        label=run.label,
        why=run.why,
        unreadable=run.unreadable,
        cases=len(run.records),
        n_used=run.manifest["data"]["n_used"] if run.manifest else None,
        started=run.manifest.get("started"),
        summary=run.summary,
        dataset=told.get("dataset", ""),
        method=told.get("method", ""),
        thumbnails=thumbnails(run.folder, run.pictures, PICTURES),
        scores=_scores_of(run.records),
        words=names.words(run.folder),
        failed=sum(each.failed for each in run.records),
    )


def row_from(content: Mapping[str, Any]) -> Row | None:
    """The row that was kept as JSON; None for anything else, since the folders of runs come from anywhere."""
    try:
        row = Row(**content)
        whole = not row.summary or (isinstance(row.summary, dict) and is_whole_summary(row.summary))
        plain = all(isinstance(each, str) for each in (row.label, row.why, row.dataset, row.method, row.started or ""))
        counts = all(isinstance(each, int) for each in (row.unreadable, row.cases, row.n_used or 0, row.failed))
        told = all(isinstance(each, str) for each in row.words or ())
        drawn = all(str(each["uri"]).startswith("data:image/jpeg;") and each["rule"] for each in row.thumbnails)
        scored = all(isinstance(name, str) and isinstance(subject, str) for name, subject, _ in row.scores)
    except (TypeError, ValueError, KeyError):
        return None
    return row if whole and plain and counts and told and drawn and scored else None


def _scores_of(records: Sequence[CaseRecord]) -> Scores:
    """What a comparison needs of cases; subjects count as in a run's summary."""
    subjects = subjects_of(records) or [""] * len(records)
    return [(each.case_id, subject, each.dsc) for each, subject in zip(records, subjects, strict=True)]


class Compared:
    """Comparisons by the scores that they are of, so that none is worked out twice.

    Attributes:
        used: those asked for, by digest: common cases, pairs, difference, low, high, p; others are forgotten with this.
    """

    def __init__(self, known: Mapping[str, Any]) -> None:
        self._known = known
        self.used: dict[str, Any] = {}

    def of(self, a: Scores, b: Scores) -> tuple[int, int, float | None, float | None, float | None, float | None]:
        """B less A over their common cases; equal scores have no interval; see `Comparison`."""
        texts = [json.dumps(each) for each in (a, b)]
        digest = hashlib.blake2b(json.dumps(texts).encode(), digest_size=16).hexdigest()
        found = self._known.get(digest)
        if not (isinstance(found, list) and len(found) == 6):
            ours, other = ({name: dsc for name, _, dsc in each} for each in (b, a))
            subjects = {name: subject for name, subject, _ in a}
            bounds = None if texts[0] == texts[1] else SHARE
            new = compare(ours, other, subjects if all(subjects.values()) else None, bounds=bounds)
            found = [new.n, new.pairs, new.difference, new.low, new.high, new.p]
        self.used[digest] = found
        return tuple(found)


def paired_differences(runs: Sequence[tuple[str, Row]], known: Compared) -> list[dict[str, Any]]:
    """The mean of the paired difference B - A for any two of the latest runs of a data set; each with itself, too.

    Args:
        runs: with their names, the latest first.
        known: comparisons that need not be worked out again.

    Returns:
        Ready for JSON: `a` and `b` by name; `n` common cases; `subjects` where some hold several, or None;
        `difference`, `low`, `high`; `p` of the paired test. Pairs without a common case are left out.
    """
    datasets: dict[str, list[tuple[str, Scores]]] = {}
    for name, row in runs:
        if row.scores:
            datasets.setdefault(row.dataset, []).append((name, row.scores))
    pairs = [pair for each in datasets.values() for pair in combinations_with_replacement(each[:LATEST], 2)]
    entries = [_difference(a, b, known.of(ours, other)) for (a, ours), (b, other) in pairs]
    return [each for each in entries if each["n"]]


def _difference(a: str, b: str, found: tuple[Any, ...]) -> dict[str, Any]:
    n, pairs, difference, low, high, p = found
    shown = {"n": n, "difference": difference, "low": low, "high": high, "p": p}
    return {"a": a, "b": b, "subjects": pairs if pairs < n else None, **shown}


def write_index(
    outputs: Path, runs: Mapping[Path, Row], studies: Sequence[StudyFolder] = (), known: Compared | None = None
) -> None:
    """Write both pages.

    Args:
        outputs: the folder that all of them lie below.
        runs: by folder; the latest comes first.
        studies: a row each, in tables of their own.
        known: comparisons that need not be worked out again.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    latest = sorted(runs.items(), key=lambda item: item[1].started or "", reverse=True)
    shared = _shared(runs.values())
    notes = [{*row.summary["notes"]} for row in runs.values() if row.summary]
    common = set.intersection(*notes) if len(notes) > 1 else set()
    rows = [_row(folder, row, outputs, shared[row.dataset], common) for folder, row in latest]
    alike = Counter(row["title"] for row in rows)
    for row in rows:
        row["title"] += f" · {row['name']}" * (alike[row["title"]] > 1)
    cells = [row for row in rows if row["name"].startswith(f"{File.experiment_cells}/")]
    listed = [_study(each, outputs) for each in studies]
    own = [row for row in rows if row not in cells]
    counts = Counter(row["run"].label for row in own)
    told = {"rows": own, "cells": cells, "counts": counts, "studies": listed, "notes": sorted(common)}
    write_html(outputs / File.all_runs, "index.html.j2", **told)
    choices = [{key: row[key] for key in ("name", "title", "folder")} for row in rows]
    paired = paired_differences([(row["name"], row["run"]) for row in rows], known or Compared({}))
    write_html(outputs / File.comparison, "compare.html.j2", runs=choices, paired=paired, latest=LATEST)


def _shared(runs: Iterable[Row]) -> dict[str, set[str]]:
    """The words that tell no run of a data set from its neighbours, by data set."""
    words: dict[str, list[Sequence[str] | None]] = {}
    for row in runs:
        words.setdefault(row.dataset, []).append(row.words)
    return {dataset: names.apart(each) for dataset, each in words.items()}


def _row(folder: Path, run: Row, outputs: Path, shared: set[str], common: set[str]) -> dict[str, Any]:
    name = os.path.relpath(folder, outputs)
    words = None if run.words is None else [each for each in run.words if each not in shared]
    date = names.dated(run.started)
    whole = names.called(run.words, name)
    groups = {each: part["dsc"] for each, part in run.summary.get("groups", {}).items()}
    means = [(dsc["mean"], each) for each, dsc in groups.items() if dsc["mean"] is not None]
    return {
        "run": run,
        "name": name,
        "called": names.called(words, name),
        "shared": [each for each in run.words or () if each in shared],
        "notes": [each for each in run.summary.get("notes", ()) if each not in common and not is_between(each)],
        "date": date,
        "folder": address(folder, outputs),
        "link": address(folder / File.report, outputs),
        "title": " · ".join(filter(None, (whole, run.dataset, date, run.label if run.label != "finished" else ""))),
        "groups": groups,
        "worst": min(means) if len(groups) > 1 and means else None,
    }


def _study(study: StudyFolder, outputs: Path) -> dict[str, Any]:
    page = study.folder / File.study_page
    link = address(page, outputs) if page.exists() else None
    return {"study": study, "name": os.path.relpath(study.folder, outputs), "link": link}
