"""The tables and figures of `+experiment=failures`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from salip_exp._experiments._mending import FAR, MISSED
from salip_exp._experiments.failures import Left, Pool, Worth
from salip_exp._files import atomic_write
from salip_exp._reports.paper_tables import piped, plain
from salip_exp._reports.run_tables import BELIEFS
from salip_exp._reports.sheet import DPI, STYLE, WIDTH
from salip_exp._runs.risk import pairs_of
from salip_exp._wording import around, interval, number
from salip_exp.config import Config
from salip_exp.evaluation.risk import TITLES, Detection, Kept, reliability, risk_coverage

NAME = "failures"


@dataclass(frozen=True)
class Lines:
    """A table as text, the same on terminal, page and in Markdown."""

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()

    def to_rich(self) -> Table:
        """For the terminal."""
        table = Table(title=Text(self.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for head in self.heads:
            table.add_column(Text(head))
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def to_markdown(self) -> str:
        """GitHub's Markdown: title, table, notes."""
        table = [piped(self.heads), "|" + "---|" * len(self.heads), *map(piped, self.rows)]
        said = [f"- {plain(note)}" for note in self.notes]
        return "\n".join([f"### {plain(self.title)}", "", *table, "", *said, ""])


def lines_of(worth: Worth, config: Config) -> list[Lines]:
    """All tables of what came of a pool, but those without a row."""
    tables = (_signals, _questions, _kept, _mended, _held, _bounds, _stress)
    return [each for each in (table(worth, config) for table in tables) if each.rows]


def _poor(config: Config) -> str:
    return f"DSC < {config.score.poor_below:g}"


def _signals(worth: Worth, config: Config) -> Lines:
    return Lines(
        f"What a confidence is worth: a case is poor below DSC {config.score.poor_below:g}",
        ("cases", "confidence by", "n", _poor(config), *TITLES.values()),
        [[*named, *_worth(each)] for named, each in _named(worth.signals)],
        [
            f"[a, b]: {100 * config.score.confidence:g} % intervals by subject, where they hold what they claim.",
            "Lower is better of AURC, FPR95 and calibration error.",
        ],
    )


def _questions(worth: Worth, config: Config) -> Lines:
    shown = ("auroc", "fpr95")
    return Lines(
        "Wrong questions: clean cases that were asked rightly, against an organ that is not there",
        ("cases", "confidence by", "n", "wrongly asked", *(TITLES[each] for each in shown)),
        [
            [*named, str(each.n), str(each.poor), *(around(asdict(each.measures[one])) for one in shown)]
            for named, each in _named(worth.questions)
        ],
    )


def _kept(worth: Worth, config: Config) -> Lines:
    return Lines(
        f"Accepting {100 * config.experiment.failures.coverage:g} % of the cases, the most confident",
        ("cases", "confidence by", "n", "mean DSC", "worst", "n kept", "mean DSC kept", "worst kept"),
        [[*named, *_left(one), *_left(one.kept)] for named, one in _named(worth.left)],
    )


def _mended(worth: Worth, config: Config) -> Lines:
    said = ("cases", "flagged", "repaired", "mean DSC before", "after", "of the best choice", "gap won back")
    return Lines(
        "Flagged cases: what repair made of them, and the best choice among their candidates",
        (*said, f"better by > {FAR:g}", f"worse by > {FAR:g}", "worst change", "box prompts", "of another case"),
        [
            [name, *map(str, (of.flagged, of.repaired)), *map(number, (of.before, of.after, of.best, of.regained)),
             *map(str, (of.better, of.worse)), f"{of.worst:+.3f}", number(of.prompts, 1), number(of.others, 1)]
            for name, of in worth.mended.items()
        ],
        [
            "Gap won back: of the way from the mean DSC before to that of the best choice.",
            "Box prompts are those that SAM answered for one case, what was in the cache apart; the figures of what "
            "stages lost take some, too.",
        ],
    )  # fmt: skip


def _held(worth: Worth, config: Config) -> Lines:
    named = [(name, when, of) for name, parts in worth.held.items() for when, of in parts.items()]
    return Lines(
        "How much of the organs is found, by image",
        ("cases", "repair", "n", "precision", "recall", "with a missed ROI", "of them not flagged"),
        [
            [name, when, str(of.n), *map(number, (of.precision, of.recall)), str(of.missed), str(of.unflagged)]
            for name, when, of in named
        ],
        [f"An ROI is missed where less than {100 * MISSED:g} % of it is predicted."],
    )


def _bounds(worth: Worth, config: Config) -> Lines:
    return Lines(
        "The bound: subjects whose DSC is at least dsc_at_least in every case",
        ("cases", "subjects", "share that holds"),
        [[name, str(each["n"]), interval(each)] for name, each in worth.bounds.items()],
        [
            f"A run asks for {100 * config.confidence.level:g} % unless it was told another confidence.level; "
            "it is promised for images like those of its calibration alone.",
        ],
    )


def _stress(worth: Worth, config: Config) -> Lines:
    return Lines(
        "Stress",
        ("stress", "n", "mean DSC", _poor(config)),
        [
            [name or "none", str(each["dsc"]["n"]), interval(each["dsc"]), str(each["poor"])]
            for name, each in worth.stress.items()
        ],
    )


def _named(parts: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[tuple[str, str], Any]]:
    for part, measures in parts.items():
        for i, (measure, each) in enumerate(measures.items()):
            yield (part if i == 0 else "", BELIEFS.get(measure, measure)), each


def _left(part: Left | Kept) -> tuple[str, str, str]:
    return str(part.n), number(part.mean), number(part.worst)


def _worth(found: Detection) -> list[str]:
    counted = f"{found.n}" if found.subjects is None else f"{found.n} ({found.subjects} subjects)"
    return [counted, str(found.poor), *(around(asdict(found.measures[name])) for name in TITLES)]


def to_csv(worth: Worth) -> str:
    """A line for each figure with plain numbers; one that is missing is an empty field."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("table", "cases", "signal", "n", "missing", "poor", "subjects", "figure", "value", "low", "high"))
    for table, parts in (("signals", worth.signals), ("questions", worth.questions)):
        for part, measures in parts.items():
            for measure, each in measures.items():
                told = (table, part, measure, each.n, each.missing, each.poor, each.subjects)
                for name, figure in each.measures.items():
                    writer.writerow((*told, name, figure.value, figure.low, figure.high))
    for part, mended in worth.mended.items():
        for name, value in asdict(mended).items():
            writer.writerow(("repair", part, None, mended.flagged, None, None, None, name, value, None, None))
    for part, organs in worth.held.items():
        for when, found in organs.items():
            for name, value in asdict(found).items():
                writer.writerow(("organs", part, when, found.n, None, None, None, name, value, None, None))
    for part, held in worth.bounds.items():
        bound = ("bounds", part, "dsc_at_least", held["n"], None, None, held["n"])
        writer.writerow((*bound, "covered", held["mean"], held["low"], held["high"]))
    return stream.getvalue()


def write_failures(folder: Path, pool: Pool, worth: Worth, config: Config, said: Sequence[str]) -> list[dict[str, Any]]:
    """Write `failures.csv`, `.md`, `.txt` and, where there is a confidence, the figures.

    Args:
        folder: of the experiment.
        pool: that the figures are drawn from.
        worth: of it.
        config: of the experiment.
        said: what has to be said below all tables.

    Returns:
        An entry for each figure, as `paper_figures.draw_figures` gives them.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    lines = lines_of(worth, config)
    notes = "".join(f"- {plain(each)}\n" for each in said)
    atomic_write(folder / f"{NAME}.csv", to_csv(worth))
    atomic_write(folder / f"{NAME}.md", "\n".join(each.to_markdown() for each in lines) + notes)
    stream = io.StringIO()
    console = Console(file=stream, width=400, color_system=None, highlight=False)
    for each in (*(each.to_rich() for each in lines), *map(Text, said)):
        console.print(each)
    atomic_write(folder / f"{NAME}.txt", "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n")
    measures = [name for name in BELIEFS if pairs_of(pool.right, name)[0]]
    drawn = {
        "risk_coverage": ("Risk over coverage", _draw_risk, "risk (1 - DSC) of the most confident share of the pool"),
        "reliability": ("Reliability", _draw_reliability, "mean DSC by confidence in ten bins; the area is their n"),
    }
    return [_drawn(folder, name, *each, pool, measures) for name, each in drawn.items() if measures]


def _drawn(
    folder: Path, name: str, title: str, draw: Any, rule: str, pool: Pool, measures: Sequence[str]
) -> dict[str, Any]:
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH * 0.7, WIDTH * 0.5), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, pool, measures)
        axes.legend(fontsize=7, frameon=False)
        axes.set_title(title, fontsize=9)
        for kind, dates in (("png", {}), ("pdf", {"CreationDate": None})):
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=DPI, metadata=dates)
            atomic_write(folder / f"{name}.{kind}", stream.getvalue())
    files = {"file": f"{name}.png", "pdf": f"{name}.pdf"}
    return {"name": name, "title": title, "rule": rule, "cases": [], "notes": [], **files}


def _draw_risk(axes: Axes, pool: Pool, measures: Iterable[str]) -> None:
    """A curve for each measure, the best order there is, and none."""
    for measure in measures:
        axes.plot(*risk_coverage(*pairs_of(pool.right, measure)), label=BELIEFS[measure], linewidth=1.2)
    dsc = [each.dsc for each in pool.right if each.dsc is not None]
    axes.plot(*risk_coverage(dsc, dsc), "k:", label="best order", linewidth=1)
    axes.axhline(1 - sum(dsc) / len(dsc), color="0.6", linewidth=1, label="no order")
    axes.set(xlabel="coverage", ylabel="risk (1 - DSC)", xlim=(0, 1), ylim=(0, None))


def _draw_reliability(axes: Axes, pool: Pool, measures: Iterable[str]) -> None:
    """A point for each bin of each measure that is a guess at the DSC."""
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="as believed")
    for measure in measures:
        bins = reliability(*pairs_of(pool.right, measure))
        if bins:
            most = max(each.n for each in bins)
            points = [each.confidence for each in bins], [each.dsc for each in bins]
            sizes = [4 + 40 * each.n / most for each in bins]
            (line,) = axes.plot(*points, linewidth=0.8, label=BELIEFS[measure])
            axes.scatter(*points, s=sizes, color=line.get_color())
    axes.set(xlabel="confidence", ylabel="mean DSC", xlim=(0, 1), ylim=(0, 1))


def failures_json(worth: Worth, config: Config) -> dict[str, Any]:
    """What `study.json` holds of a pool: its figures, and its tables as text."""
    return {**asdict(worth), "tables": [asdict(each) for each in lines_of(worth, config)]}
