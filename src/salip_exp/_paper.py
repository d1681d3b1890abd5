"""What an experiment is made of, read from `paper.yaml`: data sets, columns, tables, figures, the paper's numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Any

import yaml

from salip_exp.config import Config
from salip_exp.networks.registry import TABLE

SALIP = "salip"
"""The column for which nothing is typed."""

FAILURES = "failures"
"""The part of experiments that is made of no table and no figure of the paper."""

Score = tuple[float | None, float | None]
"""DSC and mIoU as the paper prints them; None is a figure that it does not give."""


@dataclass(frozen=True)
class _Source:
    """What stands for a data set of the paper.

    Attributes:
        roi: the organ.
        phantoms: option of the group `dataset` that imitates it.
        real: option that reads it.
        text: the authors' file of sentences on it.
    """

    roi: str
    phantoms: str
    real: str
    text: str


@dataclass(frozen=True)
class Column:
    """One system, ablation or network: its name in tables, what is typed for it, and whose sentences it takes where
    these are files of the user's (`experiment.texts`).
    """

    title: str
    overrides: tuple[str, ...] = ()
    text: str | None = None


@dataclass(frozen=True)
class Row:
    """One data set, or one group of it.

    Attributes:
        group: None takes all cases.
        paper: the paper's figures by column.
    """

    label: str
    dataset: str
    group: str | None = None
    paper: Mapping[str, Score] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table of the paper, or one that it lacks.

    Attributes:
        columns: by key, in order.
        against: the column that every other one is compared with; None: SaLIP as the user has it.
        order: pairs of columns that the paper ranks, the lower score first.
        control: a column that must score lower than `against`, or CLIP was not needed.
        rungs: the columns of which the best, case by case, is in reach after a stage, by stage along the chain.
        cost: whether it tells what a case takes.
        rankings: whether it tells how the columns rank the candidates that `against` ranked.
        iou: whether the table shows mIoU as well.
    """

    name: str
    title: str
    columns: Mapping[str, Column]
    rows: Sequence[Row]
    against: str | None = None
    order: Sequence[tuple[str, str]] = ()
    control: str | None = None
    rungs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cost: bool = False
    rankings: bool = False
    iou: bool = False
    footnotes: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """A figure of the paper: which cells it is drawn from."""

    name: str
    title: str
    columns: Sequence[str]
    datasets: Sequence[str]


def sources() -> dict[str, _Source]:
    """What stands for each data set of the paper, by its name there."""
    return {name: _Source(**values) for name, values in _document()["datasets"].items()}


def columns() -> dict[str, Column]:
    """All columns by key; those of embedded networks are not among them."""
    listed = _document()["columns"].items()
    return {key: Column(**values | {"overrides": tuple(values.get("overrides", ()))}) for key, values in listed}


def parts() -> list[str]:
    """Names of all tables and figures, in order."""
    return [*_document()["tables"], *_document()["figures"]]


def table(name: str) -> Table:
    """One table; `KeyError` if there is none of this name."""
    values = _document()["tables"][name]
    titles = values.get("titles", {})
    known = columns()
    chosen = {key: replace(known[key], title=titles.get(key, known[key].title)) for key in values["columns"]}
    each = tuple(values.get("each", ()))
    chosen = {key: replace(column, overrides=(*column.overrides, *each)) for key, column in chosen.items()}
    order = [(low, high) for low, high in values.get("order", ())]
    if values.get("embedded"):
        carried = _embedded()
        order += list(zip(list(carried), list(carried)[1:], strict=False))
        chosen |= carried
    return Table(
        name=name,
        title=values["title"],
        columns=chosen,
        rows=[_row(each) for each in values["rows"]],
        against=values.get("against"),
        order=order,
        control=values.get("control"),
        rungs={stage: tuple(rung) for stage, rung in values.get("rungs", {}).items()},
        cost=bool(values.get("cost")),
        rankings=bool(values.get("rankings")),
        iou=bool(values.get("iou")),
        footnotes=values.get("footnotes", ()),
    )


def figure(name: str) -> Figure:
    """One figure; `KeyError` if there is none of this name."""
    return Figure(name=name, **_document()["figures"][name])


def _row(values: Mapping[str, Any]) -> Row:
    paper = {key: (*scores, None)[:2] for key, scores in values.get("paper", {}).items()}
    return Row(values["label"], values["dataset"], values.get("group"), paper)


def _embedded() -> dict[str, Column]:
    """A column for every SAM that the package carries, the smallest file first."""
    there = [entry for entry in TABLE if entry.network == "sam" and entry.embedded and entry.path is not None]
    there = sorted((each for each in there if each.path.is_file()), key=lambda each: each.path.stat().st_size)  # type: ignore[union-attr]
    return {entry.name: Column(f"{entry.name} (embedded)", (f"sam={entry.name}",)) for entry in there}


@cache
def _document() -> dict[str, Any]:
    text = resources.files("salip_exp").joinpath("paper.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    return document


def paper_scores(dataset: str, group: str | None, method: str) -> tuple[float, float] | None:
    """DSC and mIoU that the paper gives, or None where it gives none.

    Args:
        dataset: as configured; phantoms stand beside the data set that they imitate.
        group: of cases; None for the whole data set.
        method: as configured.
    """
    paper = _document()
    for row in paper["tables"]["table1"]["rows"]:
        names = paper["datasets"][row["dataset"]]
        if dataset in (names["phantoms"], names["real"]) and row.get("group") in (None, group):
            scores = row.get("paper", {}).get(method)
            return None if scores is None else (scores[0], scores[1])
    return None


OTHER_TEXT = "preset=paper with other sentences than the authors'"
"""Beginning of the note on a run that is the authors' but for its text."""


def notes_on_text(config: Config, sentences: Sequence[str]) -> list[str]:
    """That a run of `preset=paper` has other sentences than the authors publish for its data set; else nothing.

    Args:
        sentences: as CLIP reads them; none of a method without CLIP.
    """
    if config.preset != "paper" or not sentences:
        return []
    dataset = config.dataset.name
    name = next((each.text for each in sources().values() if dataset in (each.phantoms, each.real)), None)
    if name is None:
        return [f"{OTHER_TEXT}: they publish none for {dataset}"]
    published = _document()["texts"][name]
    if hashlib.sha256("\n".join(sentences).encode()).hexdigest() == published["sha256"]:
        return []
    theirs = f"their {published['sentences']}, which vdt.file={name}.json of their clip_prompts/ gives"
    return [f"{OTHER_TEXT} ({dataset}): {len(sentences)} in place of {theirs}"]
