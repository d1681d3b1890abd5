"""A table in four forms: for the terminal, as CSV, Markdown and LaTeX. All but the CSV have the paper's layout."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from salip_exp._experiments.differing import apart
from salip_exp._experiments.outcome import run_of, table_notes
from salip_exp._experiments.results import Entry, Result
from salip_exp._files import atomic_write
from salip_exp._paper import Row, sources
from salip_exp._wording import MISSING
from salip_exp.config import Config

HEADER = (
    *("table", "row", "roi", "dataset", "column", "paper_dsc", "paper_miou", "state", "n", "of", "dsc", "low", "high"),
    *("miou", "difference", "difference_low", "difference_high", "p_holm", "why", "run", "score_at"),
)

COST = {"seconds_per_image": "seconds", "memory_mib": "memory_mib", "gpu_mib": "gpu_mib"}
"""Columns of tables that tell what a case takes, and what of a `Cost` each is."""

_ESCAPED = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "±": r"$\pm$",
    "<": r"$<$",
    ">": r"$>$",
    **{each: f"\\{each}" for each in "&%$#_"},
}


@dataclass(frozen=True)
class _Grid:
    """The lines of a table in the paper's layout: label, measure, then paper and ours of every column.

    Attributes:
        titles: of the columns.
        quoted: whether the paper gives a figure for each of them; one without has no place for the paper's.
        blocks: per row its lines; the first names the row.
        notes: what the letters in missing cells stand for.
    """

    titles: Sequence[str]
    quoted: Sequence[bool]
    blocks: Sequence[Sequence[Sequence[str]]]
    notes: Sequence[str]

    @property
    def heads(self) -> list[tuple[str, bool]]:
        """What stands above every column of text after the first two, and whether it is the paper's.

        The title stands above both columns of a pair, in a line of its own.
        """
        pairs = zip(self.titles, self.quoted, strict=True)
        both = [
            [(f"{title}\npaper", True), (f"{title}\nours", False)] if quoted else [(title, False)]
            for title, quoted in pairs
        ]
        return [head for pair in both for head in pair]


def grid(result: Result) -> _Grid:
    """The table as text, the same in every form."""
    columns = result.table.columns
    quoted = [any(entries[key].paper[0] is not None for _, entries in result.rows) for key in columns]
    reasons: dict[str, str] = {}
    blocks = [list(_block(result, row, entries, quoted, reasons)) for row, entries in result.rows]
    titles = [column.title for column in columns.values()]
    return _Grid(titles, quoted, blocks, [f"[{letter}] {why}" for why, letter in reasons.items()])


def _block(
    result: Result, row: Row, entries: Mapping[str, Entry], quoted: Sequence[bool], reasons: dict[str, str]
) -> Iterator[list[str]]:
    columns = list(entries.values())

    def line(label: str, measure: str, told: Callable[[Entry], tuple[str, str]]) -> list[str]:
        pairs = [told(entry)[0 if has_paper else 1 :] for entry, has_paper in zip(columns, quoted, strict=True)]
        return [label, measure, *(cell for pair in pairs for cell in pair)]

    yield line(row.label, "DSC", lambda e: (_paper(e.paper[0]), _ours(e, reasons)))
    if result.table.iou:
        yield line("", "mIoU", lambda e: (_paper(e.paper[1]), _mean(e.iou)))
    yield line("", "n", lambda e: ("", "" if e.dsc is None else _n(e)))
    if result.table.cost:
        yield line("", "s per image", lambda e: ("", _cost(e, "seconds", ".3g")))
        yield line("", "MiB of memory", lambda e: ("", _cost(e, "memory_mib", ".0f")))
        yield line("", "MiB of GPU", lambda e: ("", _cost(e, "gpu_mib", ".0f")))
    if any(each.p is not None for each in columns):
        yield line("", "p", lambda e: ("", p_value(e.p)))


def _paper(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _ours(entry: Entry, reasons: dict[str, str]) -> str:
    """`0.912 [0.901, 0.921]`, or what is missing and why."""
    if entry.dsc is not None:
        ends = "" if entry.dsc["interval"] == "none" else f" [{entry.dsc['low']:.3f}, {entry.dsc['high']:.3f}]"
        return f"{entry.dsc['mean']:.3f}{ends}"
    letter = reasons.setdefault(entry.why, _letter(len(reasons)))
    counted = f" ({entry.n}/{entry.of})" if entry.of else ""
    return f"{MISSING}{counted} [{letter}]"


def _letter(position: int) -> str:
    return chr(ord("a") + position) if position < 26 else str(position)


def _mean(estimate: Mapping[str, Any] | None) -> str:
    return "" if estimate is None else f"{estimate['mean']:.3f}"


def _cost(entry: Entry, name: str, digits: str) -> str:
    value = getattr(entry.cost, name, None)
    return MISSING if value is None else format(value, digits)


def _n(entry: Entry) -> str:
    return f"{entry.n}" if entry.n == entry.of else f"{entry.n} of {entry.of}"


def p_value(p: float | None) -> str:
    """Three digits, and never 0."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def to_rich(result: Result) -> RichTable:
    """For the terminal; text alone, so that no cell is read as markup."""
    told = grid(result)
    table = RichTable(title=Text(result.table.title), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("", ""):
        table.add_column(name)
    for head, is_paper in told.heads:
        table.add_column(Text(head), justify="right" if is_paper else "left", style="dim" if is_paper else None)
    for block in told.blocks:
        for line in block:
            table.add_row(*(Text(cell) for cell in line))
        table.add_section()
    return table


def to_text(result: Result, notes: Sequence[str]) -> str:
    """As on a terminal without colours, wide enough for every line; above it what differs, below it notes."""
    stream = io.StringIO()
    console = Console(file=stream, width=400, color_system=None, highlight=False)
    for line in apart(result.differing):
        console.print(Text(line))
    console.print(to_rich(result))
    for note in (*grid(result).notes, *notes):
        console.print(Text(note))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


def to_markdown(result: Result, notes: Sequence[str]) -> str:
    """GitHub's Markdown: title, what differs, table, notes."""
    told = grid(result)
    header = ["", "", *(head for head, _ in told.heads)]
    differing = [f"- {plain(line)}" for line in apart(result.differing)]
    differing += [""] if differing else []
    lines = [f"### {plain(result.table.title)}", "", *differing, piped(header), "|" + "---|" * len(header)]
    lines += [piped(line) for block in told.blocks for line in block]
    return "\n".join([*lines, "", *(f"- {plain(note)}" for note in (*told.notes, *notes))]) + "\n"


def piped(cells: Sequence[str]) -> str:
    """A row of a table of Markdown."""
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_|<>#])", r"\\\1", " ".join(text.split()))


def to_latex(result: Result, notes: Sequence[str]) -> str:
    r"""A `table*` with booktabs rules; needs `\usepackage{booktabs}`."""
    told = grid(result)
    blocks = ["\n".join(" & ".join(latex(cell) for cell in line) + r" \\" for line in block) for block in told.blocks]
    return "\n".join(
        [
            r"\begin{table*}",
            r"\centering",
            rf"\caption{{{latex(result.table.title)}}}",
            rf"\begin{{tabular}}{{ll{''.join('r' if is_paper else 'l' for _, is_paper in told.heads)}}}",
            r"\toprule",
            *_latex_heads(told),
            r"\midrule",
            "\n\\addlinespace\n".join(blocks),
            r"\bottomrule",
            r"\end{tabular}",
            *(rf"\par\footnotesize {latex(note)}" for note in (*told.notes, *apart(result.differing), *notes)),
            r"\end{table*}",
            "",
        ]
    )


def _latex_heads(told: _Grid) -> list[str]:
    """Each title above its columns, and below it whose figures they are."""
    spans = [1 + quoted for quoted in told.quoted]
    titles = " & ".join(
        rf"\multicolumn{{{span}}}{{c}}{{{latex(title)}}}" for title, span in zip(told.titles, spans, strict=True)
    )
    ends = [2 + sum(spans[: i + 1]) for i in range(len(spans))]
    rules = " ".join(rf"\cmidrule(lr){{{end - span + 1}-{end}}}" for end, span in zip(ends, spans, strict=True))
    whose = " & ".join("paper" if is_paper else "ours" for _, is_paper in told.heads)
    return [rf" & & {titles} \\", rules, rf" & & {whose} \\"]


def latex(text: str) -> str:
    """Text with everything that LaTeX would read as a command escaped."""
    return "".join(_ESCAPED.get(each, each) for each in " ".join(text.split()))


def to_csv(result: Result, rois: Mapping[str, str], run_of: Any, score_at: str) -> str:
    """One line per cell with plain numbers; a figure that is missing is an empty field.

    Args:
        rois: organ by data set.
        run_of: gives the path of a cell's run folder as it is to be written.
        score_at: the size at which they were scored.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*HEADER, *(COST if result.table.cost else ())])
    for row, entries in result.rows:
        for key, entry in entries.items():
            place = [result.table.name, row.label, rois[row.dataset], row.dataset, key]
            cost = [getattr(entry.cost, name, None) for name in COST.values()] if result.table.cost else []
            writer.writerow([*place, *_fields(entry, run_of), score_at, *cost])
    return stream.getvalue()


def _fields(entry: Entry, run_of: Any) -> list[Any]:
    dsc, iou, found = entry.dsc or {}, entry.iou or {}, entry.comparison
    differs = [None] * 3 if found is None else [found.difference, found.low, found.high]
    numbers = [dsc.get("mean"), dsc.get("low"), dsc.get("high"), iou.get("mean"), *differs, entry.p]
    rounded = ["" if each is None else f"{each:.6g}" for each in numbers]
    return [*entry.paper, entry.state, entry.n, entry.of, *rounded, entry.why, run_of(entry) or ""]


def write_table(folder: Path, result: Result, config: Config, below: Sequence[str]) -> None:
    """Write a table in its four forms.

    Args:
        below: what is said below it: of all tables, and its reading.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    below = [*table_notes(result, config), *below]
    rois = {name: source.roi for name, source in sources().items()}
    name = result.table.name
    atomic_write(
        folder / f"{name}.csv", to_csv(result, rois, lambda entry: run_of(entry, config), str(config.score.at))
    )
    atomic_write(folder / f"{name}.md", to_markdown(result, below))
    atomic_write(folder / f"{name}.tex", to_latex(result, below))
    atomic_write(folder / f"{name}.txt", to_text(result, below))
