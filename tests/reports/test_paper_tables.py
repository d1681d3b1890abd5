"""One table in four forms: the paper's layout, missing never as a number, nothing read as markup."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
from rich.console import Console

from salip_exp._experiments.cost import Cost
from salip_exp._experiments.results import Entry, Result
from salip_exp._reports.paper_tables import grid, latex, p_value, to_csv, to_latex, to_markdown, to_rich, to_text

LOW, HIGH = ([base + 0.001 * i for i in range(16)] for base in (0.3, 0.9))
WHY = "no weights & no 100 % of [them]_x: run <script>"


@pytest.fixture
def table(constructed: Callable[..., Result]) -> Result:
    """Table 6, quoting the paper, with a row of numbers, a missing cell, and one that failed after 3 of 12 cases."""
    made = constructed("table6", {"no_filter": LOW, "salip": HIGH}, {"salip": HIGH}, {"no_filter": LOW})
    (row, first), (second, two), (third, three) = made.rows
    first = {**first, "no_filter": replace(first["no_filter"], paper=(0.91, None))}
    two = {**two, "no_filter": replace(two["no_filter"], why=WHY)}
    three = {**three, "salip": Entry((0.81, None), "failed", "9 of 12 cases failed", 3, 12)}
    return replace(made, rows=[(row, first), (second, two), (third, three)])


def test_paper_and_ours_stand_side_by_side_with_n_and_p(table: Result) -> None:
    told = grid(table)
    assert told.titles == ["no filter", "filter"]
    dsc, n, p = told.blocks[0]
    assert dsc[:3] == ["CC359", "DSC", "0.91"]
    assert re.fullmatch(r"0\.307 \[0\.2\d\d, 0\.4\d\d\]", dsc[3])
    assert n == ["", "n", "", "16", "", "16"]
    assert p == ["", "p", "", "< 0.001", "", ""]


def test_names_stand_over_both_columns_in_every_form(table: Result) -> None:
    assert [head for head, _ in grid(table).heads] == [
        *("no filter\npaper", "no filter\nours", "filter\npaper", "filter\nours")
    ]
    assert "| no filter paper | no filter ours |" in to_markdown(table, [])
    names, whose = [line for line in to_text(table, []).splitlines() if "filter" in line or "paper" in line][-2:]
    assert names.split() == ["no", "filter", "no", "filter", "filter", "filter"]
    assert whose.split() == ["paper", "ours", "paper", "ours"]


def test_a_column_that_the_paper_lacks_has_no_place_for_its_figures(constructed: Callable[..., Result]) -> None:
    made = constructed("controls", {"salip": HIGH}, {"salip": HIGH}, {"salip": HIGH})
    assert len(grid(made).blocks[0][0]) == 2 + len(made.table.columns)
    assert not any(is_paper for _, is_paper in grid(made).heads)
    assert "& ours & ours" in to_latex(made, [])


def test_what_a_case_takes_has_lines_of_its_own_where_a_table_tells_it(constructed: Callable[..., Result]) -> None:
    made = constructed("rivals", {"salip": HIGH, "gt_sam": HIGH})
    row, entries = made.rows[0]
    entries = {**entries, "salip": replace(entries["salip"], cost=Cost(0.12345, 3, 812.4, None, "CPU"))}
    made = replace(made, rows=[(row, entries)])
    lines = {line[1]: line[2:] for line in grid(made).blocks[0]}
    assert lines["s per image"] == ["0.123", *["missing"] * 6]
    assert lines["MiB of memory"] == ["812", *["missing"] * 6]
    assert lines["MiB of GPU"] == ["missing"] * 7
    told = csv.DictReader(io.StringIO(to_csv(made, {"cc359": "brain"}, str, "working")))
    found = [(each["seconds_per_image"], each["memory_mib"], each["gpu_mib"]) for each in told]
    assert found == [("0.12345", "812.4", ""), *[("", "", "")] * 6]


def test_missing_is_never_a_number(table: Result) -> None:
    told = grid(table)
    assert told.blocks[1][0][3] == "missing [a]"
    assert told.blocks[2][0][4:] == ["0.81", "missing (3/12) [b]"]
    assert told.notes == [f"[a] {WHY}", "[b] 9 of 12 cases failed"]
    rows = list(
        csv.DictReader(io.StringIO(to_csv(table, {"cc359": "brain", "xray": "lungs", "hc18": "head"}, str, "working")))
    )
    missing = next(row for row in rows if row["state"] == "missing")
    assert (missing["dsc"], missing["p_holm"], missing["why"]) == ("", "", WHY)
    failed = next(row for row in rows if row["state"] == "failed")
    assert (failed["dsc"], failed["n"], failed["of"], failed["paper_dsc"]) == ("", "3", "12", "0.81")
    assert not any(row[name] in ("0", "0.0") for row in rows for name in ("dsc", "miou", "paper_dsc"))


def test_numbers_in_the_csv_are_plain(table: Result) -> None:
    rows = list(
        csv.DictReader(io.StringIO(to_csv(table, {"cc359": "brain", "xray": "lungs", "hc18": "head"}, str, "working")))
    )
    first = rows[0]
    assert (first["table"], first["row"], first["roi"], first["column"]) == ("table6", "CC359", "brain", "no_filter")
    assert float(first["dsc"]) == pytest.approx(0.3075)
    assert float(first["difference"]) == pytest.approx(0.6)
    assert 0 < float(first["p_holm"]) < 0.01


def test_latex_has_nothing_that_it_would_take_for_a_command(table: Result) -> None:
    text = to_latex(table, ["a 95 % interval_of {x} ~ ^ \\ # $"])
    assert r"\toprule" in text and r"\bottomrule" in text
    assert r"no weights \& no 100 \% of [them]\_x: run $<$script$>$" in text
    assert r"a 95 \% interval\_of \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \# \$" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    columns = len(grid(table).titles) * 2 + 2
    lines = [line for line in text.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert all(len(re.findall(r"(?<!\\)&", line)) == columns - 1 for line in lines)
    assert latex("µ – é") == "µ -- é"


def test_a_row_of_latex_never_begins_with_a_bracket(constructed: Callable[..., Result]) -> None:
    """`\\\\ [x]` would be an optional argument of the line break."""
    lines = to_latex(constructed("table6", {}, {}, {}), []).splitlines()
    assert not any(line.lstrip().startswith("[") for line in lines)


def test_markdown_shows_text_as_it_is(table: Result) -> None:
    text = to_markdown(table, ["a | b"])
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert r"run \<script\>" in text
    assert r"- a \| b" in text


def test_the_terminal_shows_no_markup_and_a_file_has_no_colours(table: Result) -> None:
    stream = io.StringIO()
    Console(file=stream, width=200, force_terminal=True).print(to_rich(table))
    assert "missing [a]" in re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())
    text = to_text(table, ["its reading"])
    assert "\x1b" not in text
    assert "missing (3/12) [b]" in text
    assert text.rstrip().endswith("its reading")


def test_a_p_value_is_never_0() -> None:
    assert [p_value(p) for p in (None, 1e-9, 0.04, 1.0)] == ["", "< 0.001", "0.040", "1.000"]
