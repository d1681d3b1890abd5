"""`+experiment=failures`: cases under stress and wrong questions, and what each measure of confidence knows of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from salip_exp._experiments._mending import Held, Mended, held, mended
from salip_exp._experiments._references import REVERSE, with_reverse
from salip_exp._experiments.cells import Cell, Finished
from salip_exp._runs.folder import State, read_run
from salip_exp._runs.records import CaseRecord
from salip_exp._runs.risk import detection_of, detections, pairs_of, subjects_in_pool
from salip_exp._settings.folders import key_of
from salip_exp.config import Config, Doubt
from salip_exp.config import Failures as Settings
from salip_exp.data.stress import CORRUPTIONS
from salip_exp.errors import DataError
from salip_exp.evaluation.risk import Detection, Kept, kept
from salip_exp.evaluation.statistics import estimate

_CLEAN = "clean"
_TEXTS = {"cc359": ("lungs", "fetal_head"), "xray": ("brain", "fetal_head"), "hc18": ("brain", "lungs")}
"""Texts of organs that the images of a data set do not hold."""
_ALL, _WITH_WRONG = "all", "all and wrong questions"
_CHOICES = {"dataset.limit", "dataset.sample", "dataset.subset"}


def failure_cells(chosen: Settings, typed: Sequence[str]) -> list[Cell]:
    """The cells of the pool: each data set as it is, under stress, and asked for what it does not hold.

    Args:
        chosen: which of them.
        typed: what the user typed for all cells, whose choice of cases wins.
    """
    free = chosen.cases is None or _CHOICES & {key_of(each) for each in typed}
    drawn = () if free else (f"dataset.sample={chosen.cases}",)
    return [
        Cell(dataset, column, (*overrides, *drawn))
        for dataset in chosen.datasets
        for column, overrides in _columns(dataset, chosen)
    ]


def _columns(dataset: str, chosen: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield _CLEAN, ()
    for name in chosen.stress or CORRUPTIONS:
        yield from ((f"{name}:{each}", (f"stress={name}:{each}",)) for each in chosen.severities)
    for text in _TEXTS[dataset]:
        yield f"asked for {text}", (f"vdt={text}", "dataset.absent=true")
    yield "asked nonsense", ("+ablation=nonsense_prompt", "dataset.absent=true")


@dataclass(frozen=True)
class Pool:
    """Cases of many runs.

    Attributes:
        right: those whose organ was asked for.
        wrong: those that were asked for an organ that they do not hold.
    """

    right: Sequence[CaseRecord]
    wrong: Sequence[CaseRecord]

    @property
    def parts(self) -> dict[str, list[CaseRecord]]:
        """The cases by data set, all that were asked rightly, and all."""
        names = dict.fromkeys(each.dataset for each in self.right)
        found = {name: [each for each in self.right if each.dataset == name] for name in names}
        found |= {_ALL: [*self.right]} if len(names) != 1 else {}
        return found | ({_WITH_WRONG: [*self.right, *self.wrong]} if self.wrong else {})


def pooled(cells: Iterable[Finished], folders: Sequence[str]) -> Pool:
    """The cases of finished cells, with their reverse accuracy, and of other finished runs.

    Raises:
        DataError: a folder holds no finished run.
    """
    parts = [
        _Part(cell.config.dataset.root, cell.config.dataset.absent, cell.records) for cell in with_reverse(list(cells))
    ]
    for folder in folders:
        run = read_run(Path(folder).expanduser())
        if run.label is not State.finished:
            raise DataError(f"experiment.failures.runs: {folder} is no finished run ({run.why or run.label})")
        parts.append(_Part(run.manifest["data"].get("root"), bool(run.summary.get("absent")), run.records))
    parts = _told_apart(parts)
    right, wrong = (
        [each for part in parts if part.absent is absent for each in part.records] for absent in (False, True)
    )
    return Pool(right, wrong)


@dataclass(frozen=True)
class _Part:
    """The cases of one run, the folder of its images as it was named, and whether their organ is absent there."""

    root: str | None
    absent: bool
    records: Sequence[CaseRecord]


def _told_apart(parts: Sequence[_Part]) -> list[_Part]:
    """Data sets of one name (`folder`) in several places get the place beside it: their `1` are two patients."""
    places: dict[str, set[Path]] = {}
    for part in parts:
        for name in {each.dataset for each in part.records} if part.root else ():
            places.setdefault(name, set()).add(_place(part.root or ""))
    told = []
    for part in parts:
        names = {n: f"{n} {_tail(_place(part.root), p)}" for n, p in places.items() if part.root and len(p) > 1}
        records = [replace(each, dataset=names.get(each.dataset, each.dataset)) for each in part.records]
        told.append(replace(part, records=records))
    return told


def _place(root: str) -> Path:
    return Path(root).expanduser().resolve()


def _tail(place: Path, places: Iterable[Path]) -> str:
    """The fewest last names of a place that no other ends in."""
    others = [each.parts for each in places if each != place]
    length = next(n for n in range(1, len(place.parts) + 1) if all(o[-n:] != place.parts[-n:] for o in others))
    return "/".join(place.parts[-length:])


@dataclass(frozen=True)
class Left:
    """What is left of a part of the pool when the most doubtful cases are put aside, by one measure."""

    n: int
    mean: float
    worst: float
    kept: Kept


@dataclass(frozen=True)
class Worth:
    """What came of a pool.

    Attributes:
        signals: by part of the pool and measure, how well it goes with DSC.
        questions: by data set and measure, how well it tells clean cases from wrongly asked ones.
        stress: by `name:severity`, empty for none: the mean DSC with its n, and how many cases are poor.
        left: by part of the pool and measure, what is left at `experiment.failures.coverage`.
        mended: by part of the rightly asked pool, what repair made of the flagged cases.
        held: by part of the rightly asked pool, how much of the organs is found before and after repair.
        bounds: by part of the rightly asked pool, in which share of its subjects no case is below its `dsc_at_least`.
    """

    signals: Mapping[str, Mapping[str, Detection]]
    questions: Mapping[str, Mapping[str, Detection]]
    stress: Mapping[str, Mapping[str, Any]]
    left: Mapping[str, Mapping[str, Left]]
    mended: Mapping[str, Mended]
    held: Mapping[str, Mapping[str, Held]]
    bounds: Mapping[str, Mapping[str, Any]]


def worth_of(pool: Pool, config: Config) -> Worth:
    """What each measure of confidence is worth on a pool; thresholds and draws as in `score`."""
    signals = {name: detections(records, config, [REVERSE]) for name, records in pool.parts.items()}
    left = {
        name: {measure: _left(records, measure, config) for measure in signals[name]}
        for name, records in pool.parts.items()
    }
    asked = replace(pool, wrong=[]).parts
    repairs = {name: of for name, records in asked.items() if (of := mended(records)) is not None}
    organs = {name: found for name, records in asked.items() if (found := held(records))}
    return Worth(
        signals, _questions(pool, config), _by_stress(pool, config), left, repairs, organs, _bounds(pool, config)
    )


def _left(records: Sequence[CaseRecord], measure: str, config: Config) -> Left:
    told, dsc = pairs_of(records, measure)
    return Left(len(dsc), sum(dsc) / len(dsc), min(dsc), kept(told, dsc, config.experiment.failures.coverage))


def _bounds(pool: Pool, config: Config) -> dict[str, dict[str, Any]]:
    """How often bounds hold: a subject counts by its worst case, and the interval is of subjects."""
    score, found = config.score, {}
    for name, records in replace(pool, wrong=[]).parts.items():
        of = subjects_in_pool(records) or [str(i) for i in range(len(records))]
        held: dict[str, bool] = {}
        for record, subject in zip(records, of, strict=True):
            bound = record.scores.get("dsc_at_least")
            if bound is not None and record.dsc is not None:
                held[subject] = held.get(subject, True) and record.dsc >= bound
        if held:
            shares = list(map(float, held.values()))
            found[name] = estimate(shares, None, score.resamples, score.confidence, config.seed).to_dict()
    return found


def _questions(pool: Pool, config: Config) -> dict[str, dict[str, Detection]]:
    """Clean cases against wrongly asked ones of the same data set, and of all."""
    clean = [each for each in pool.right if each.stress is None]
    shared = {each.dataset for each in clean} & {each.dataset for each in pool.wrong}
    every = {each.dataset for each in (*clean, *pool.wrong)}
    parts = {name: {name} for name in sorted(shared)} | ({_ALL: every} if len(every) > 1 else {})
    found = {}
    for name, datasets in parts.items():
        right = [each for each in clean if each.dataset in datasets]
        wrong = [each for each in pool.wrong if each.dataset in datasets]
        truth = [*[1.0] * len(right), *[0.0] * len(wrong)]
        had = [each for each in Doubt if any(one.believed(each) is not None for one in wrong)]
        found[name] = {str(each): detection_of([*right, *wrong], each, truth, config, threshold=0.5) for each in had}
    return {name: each for name, each in found.items() if each}


def _by_stress(pool: Pool, config: Config) -> dict[str, dict[str, Any]]:
    """Every stress of the pool, with no stress first."""
    names = sorted({each.stress or "" for each in pool.right})
    score, found = config.score, {}
    for name in names:
        cases = [each for each in pool.right if (each.stress or "") == name]
        of = subjects_in_pool(cases)
        mean = estimate([each.dsc for each in cases], of, score.resamples, score.confidence, config.seed)
        poor = sum(each.dsc is not None and each.dsc < score.poor_below for each in cases)
        found[name] = {"dsc": mean.to_dict(), "poor": poor}
    return found
