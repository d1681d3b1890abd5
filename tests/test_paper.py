"""The tables as the paper prints them; its figure beside ours is that of the same group and method, or none."""

from __future__ import annotations

import hashlib
from importlib import resources
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from salip_exp import _paper
from salip_exp._experiments.cells import figures_of, plan, tables_of
from salip_exp._experiments.outcome import LABELS
from salip_exp._paper import FAILURES, columns, figure, notes_on_text, paper_scores, parts, sources, table
from salip_exp.config import Config, DatasetConfig

CONF = Path(str(resources.files("salip_exp.conf"))) / "experiment"


def test_every_part_has_its_command_and_everything_has_all_parts() -> None:
    options = {path.stem: yaml.safe_load(path.read_text()) for path in CONF.glob("*.yaml")}
    assert set(options) == {*parts(), FAILURES, "everything"}
    assert options["everything"]["experiment"]["parts"] == [name for name in parts() if name != "rivals"]
    for name in parts():
        assert options[name]["experiment"] == {"name": name, "parts": [name]}
        assert options[name]["task"] == "experiment"


@pytest.mark.parametrize("name", tables_of(parts()))
def test_a_table_ranks_compares_and_quotes_its_own_columns_alone(name: str) -> None:
    found = table(name)
    named = {key for pair in found.order for key in pair} | {key for row in found.rows for key in row.paper}
    named |= {each for rung in found.rungs.values() for each in rung}
    named |= {each for each in (found.against, found.control) if each is not None}
    assert named <= set(found.columns)
    assert {row.dataset for row in found.rows} <= set(sources())
    for row in found.rows:
        for scores in row.paper.values():
            assert all(score is None or 0 < score < 1 for score in scores)


def test_the_paper_itself_is_quoted_as_it_ranks() -> None:
    for name in tables_of(parts()):
        found = table(name)
        told = [(row.paper.get(low), row.paper.get(high)) for row in found.rows for low, high in found.order]
        assert all(low[0] < high[0] for low, high in told if low and high), name


def test_table_1_is_the_paper_s_and_has_the_domain_that_it_leaves_out() -> None:
    rows = {row.label: row for row in table("table1").rows}
    assert rows["Siemens 3"].paper["unprompted_sam"] == (0.41, 0.32)
    assert rows["Ultrasound"].paper["salip"] == (0.81, 0.72)
    assert rows["GE 3"].paper == {}
    assert sum(bool(row.paper) for row in rows.values()) == 7


def test_table_4_has_a_column_for_every_embedded_sam_the_smallest_first() -> None:
    found = list(table("table4").columns)
    assert found[:3] == ["vit_b", "vit_l", "vit_h"]
    assert "tiny" in found[3:]
    assert table("table4").columns["tiny"].overrides == ("sam=tiny",)


def test_a_plan_holds_every_cell_once_with_cells_of_a_network_together() -> None:
    cells = plan(parts())
    keys = [(cell.dataset, cell.column) for cell in cells]
    assert len(keys) == len(set(keys))
    networks = [next((each for each in cell.overrides if each.startswith("sam=")), "") for cell in cells]
    changes = sum(a != b for a, b in pairwise(networks))
    assert changes == len(set(networks))  # and back once, for the U-Nets, which need none
    assert keys[0] == ("cc359", "salip")
    assert {cell.column for cell in cells[-3:]} == {"unet"}


def test_a_figure_is_drawn_from_cells_that_are_planned() -> None:
    for name in figures_of(parts()):
        drawn = figure(name)
        planned = {(cell.dataset, cell.column) for cell in plan([name])}
        assert planned == {(dataset, key) for dataset in drawn.datasets for key in drawn.columns}
        assert set(drawn.columns) <= set(columns())


@pytest.mark.parametrize(
    ("dataset", "group", "method", "scores"),
    [
        ("cc359", "GE 1.5", "salip", (0.92, 0.87)),
        ("phantom_cc359", "Siemens 3", "gt_sam", (0.96, 0.90)),
        ("phantom_xray", "X-ray", "unprompted_sam", (0.47, 0.31)),
        ("hc18", None, "unet", (0.95, 0.91)),
        ("cc359", "GE 3", "salip", None),
        ("cc359", None, "salip", None),
        ("cc359", "GE 1.5", "sam_clip", None),
        ("folder", "all", "salip", None),
    ],
)
def test_the_figure_of_table_1(dataset, group, method, scores):
    assert paper_scores(dataset, group, method) == scores


def test_sentences_are_theirs_where_their_hash_is(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = ["A lung.", "Two lungs."]
    published = {"lungs": {"sentences": 2, "sha256": hashlib.sha256(b"A lung.\nTwo lungs.").hexdigest()}}
    document = _paper._document()
    monkeypatch.setattr(_paper, "_document", lambda: {**document, "texts": published})

    def said(sentences: list[str], name: str = "xray", preset: str = "paper") -> str:
        return " ".join(notes_on_text(Config(dataset=DatasetConfig(name=name), preset=preset), sentences))

    for name in ("xray", "phantom_xray"):
        assert said(theirs, name) == ""
        other = said([*theirs, "A rib."], name)
        assert "3 in place of their 2" in other and "vdt.file=lungs.json" in other and other.startswith(LABELS)
        assert said(theirs[::-1], name)
    assert "none for kidneys" in said(theirs, "kidneys")
    assert said([]) == said(["A rib."], preset="default") == ""


def test_the_authors_files_are_known_by_count_and_hash() -> None:
    texts = _paper._document()["texts"]
    assert {name: each["sentences"] for name, each in texts.items()} == {"brain_seg": 4, "lungs": 5, "fetal_head": 14}
    assert {source.text for source in sources().values()} == set(texts)
    assert all(len(each["sha256"]) == 64 for each in texts.values())
