"""What people see of a run as it goes on, and the table at its end: n, spread, failures, what to type next."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace

import pandas as pd
import pytest
from rich.console import Console

from salip_exp._reports.listeners import next_command, show
from salip_exp._reports.run_tables import of_volumes
from salip_exp._runs._volumes import COLUMNS
from salip_exp._runs.folder import read_pictures
from salip_exp._runs.runner import run
from salip_exp._wording import WORK, many, number, spread, tally, work
from salip_exp.config import Doubt, ScoreConfig
from salip_exp.errors import CaseError
from salip_exp.evaluation._volumes import FIGURES
from salip_exp.evaluation.metrics import FACT


def trouble(case) -> None:
    if case.case_id == "case_00":
        raise CaseError("E_READ", "gone")


def test_the_mean_so_far_leaves_out_cases_without_a_score(fakes, tmp_path, capsys):
    fakes.run_fake(tmp_path / "run", fakes.default_cases()[:2], fakes.Threshold(before=trouble), progress=True,
                   max_failed=1.0)  # fmt: skip
    first, second = (line for line in capsys.readouterr().err.splitlines() if "/2 cases" in line)
    assert first.endswith("no score yet")
    assert "mean DSC " in second and second.endswith("(n=1)")


def test_pictures_say_whose_they_are_in_a_file_of_their_own(fakes, tmp_path):
    fakes.run_fake(tmp_path / "run")
    drawn = read_pictures(tmp_path / "run")
    assert len(drawn["figures"]) == 1 and len(drawn["strips"]) == 3
    assert all((tmp_path / "run" / each["file"]).is_file() for kind in drawn.values() for each in kind)
    assert "figures" not in (tmp_path / "run" / "summary.json").read_text()


def test_a_run_without_listeners_is_as_complete_and_has_no_pictures(fakes, tmp_path):
    lab = fakes.FakeLab(fakes.default_cases(), fakes.Threshold())
    assert run(fakes.config(), tmp_path / "bare", fakes.COMMAND, lab) == 0
    assert fakes.run_fake(tmp_path / "heard") == 0
    assert (tmp_path / "bare" / "summary.json").read_bytes() == (tmp_path / "heard" / "summary.json").read_bytes()
    assert not (tmp_path / "bare" / "report.html").exists()


@pytest.fixture(scope="module")
def folder(fakes, tmp_path_factory):
    def before(case) -> None:
        if case.case_id == "case_02":
            raise CaseError("E_READ", "gone")

    place = tmp_path_factory.mktemp("table") / "run"
    fakes.run_fake(place, method=fakes.Threshold(before=before), max_failed=1.0)
    return place


def shown(folder, **options) -> str:
    stream = io.StringIO()
    show(folder, "outputs", ["salip-exp", "seed=1"], Console(file=stream, width=140, **options))
    return stream.getvalue()


def test_every_group_and_all_have_their_n_mean_and_interval(folder):
    lines = shown(folder).splitlines()
    for name, n in (("group 0", "5 of 6"), ("group 1", "6"), ("all", "11 of 12")):
        line = next(line for line in lines if f" {name} " in line)
        assert n in line and "±" in line and "[" in line
    assert any("embedded weights: trained on synthetic images only" in line for line in lines)
    assert any("1 of 12 cases failed and are in no mean" in line for line in lines)
    assert "salip-exp task=report" in lines[-1]
    assert any(str(folder) in line for line in lines)


def test_the_networks_work_and_what_the_cache_knew_are_said(folder):
    (line,) = (line for line in shown(folder).splitlines() if line.startswith("computed"))
    assert line.split() == ["computed", "11", "encodings,", "1", "text"]


def test_work_is_worded():
    nothing = {"hits_memory": 0, "hits_disk": 0, "bytes_written": 0}
    counts = dict.fromkeys(WORK, 0)
    assert work({"counters": counts, "cache": {"view": nothing}}) == "no network was asked"
    known = {"hits_memory": 2, "hits_disk": 1000, "bytes_written": 2_500_000}
    words = work({"counters": counts | {"decoded_points": 1024}, "cache": {"view": nothing, "organ": known}})
    assert words == "1,024 points; 1,002 entries found in the cache; 2.5 MB written to the cache"


def test_what_is_no_terminal_gets_no_colour_codes(folder):
    assert "\x1b" not in shown(folder)
    assert "\x1b[" in shown(folder, force_terminal=True, color_system="standard")


def test_no_color_is_respected(folder, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[33m" not in shown(folder, force_terminal=True, color_system="standard")


def test_nothing_is_cut_where_output_goes_to_a_file(folder, capsys):
    show(folder, "outputs", [])
    assert "…" not in capsys.readouterr().out


def test_a_run_without_targets_shows_what_to_look_at_and_nothing_missing(fakes, tmp_path):
    cases = [replace(each, mask=None) for each in fakes.default_cases()]
    fakes.run_fake(tmp_path / "run", cases, score=ScoreConfig(doubt=Doubt.agreement, resamples=100))
    said = shown(tmp_path / "run")
    assert "not scored: no targets" in said and "missing" not in said and "DSC" not in said and "mIoU" not in said
    assert "most doubtful first, by agreement (score.doubt=agreement)" in said and "and 2 more in cases.csv" in said
    rows = pd.read_csv(tmp_path / "run" / "cases.csv").sort_values("agreement", kind="stable").case_id.tolist()
    below = said[said.index("most doubtful") :]
    assert re.findall(r"case_\d\d", below) == rows[:10]


def test_a_measure_that_no_case_has_gives_way_to_one_that_some_have(fakes, tmp_path):
    wanted = ScoreConfig(resamples=200, doubt=Doubt.stability)
    fakes.run_fake(tmp_path / "run", [replace(each, mask=None) for each in fakes.default_cases()[:2]], score=wanted)
    assert "by confidence" in shown(tmp_path / "run"), "the method has no boxes to move"


def test_the_size_at_which_scores_were_taken_is_said(fakes, folder):
    assert "scored at working size" in shown(folder)
    assert json.loads((folder / "summary.json").read_text())["score_at"] == "working"
    assert set(pd.read_csv(folder / "cases.csv").score_at) == {"working"}
    assert "scored at working size" in (folder / "report.html").read_text()


def test_volumes_have_a_table(fakes, tmp_path):
    told = {"group": "all", "prediction": "a", "note": None} | {name: [0.5, None] for name in FIGURES}
    volumes = pd.DataFrame(dict.fromkeys(COLUMNS) | told | {"volume": ["one", "two"], "note": [None, "tilted"]})
    stream = io.StringIO()
    Console(file=stream, width=140).print(of_volumes(volumes))
    one, two, mean = (next(each for each in stream.getvalue().splitlines() if name in each)
                      for name in (" one ", " two ", " mean (n) "))  # fmt: skip
    assert "0.500" in one and "missing" in two and "tilted" in two and "0.500 (1)" in mean
    assert of_volumes(volumes.assign(**dict.fromkeys(FIGURES))) is None


def test_head_circumference_has_a_column_with_its_n_where_it_was_measured(fakes, folder, tmp_path):
    assert "HC error" not in shown(folder)
    cases = fakes.default_cases()[:4]
    fakes.run_fake(tmp_path / "run", [replace(each, facts={FACT: 20.0}) for each in cases[:3]] + cases[3:])
    lines = shown(tmp_path / "run").splitlines()
    assert any("|HC error| mm (n)" in line for line in lines)
    estimate = json.loads((tmp_path / "run" / "summary.json").read_text())["overall"]["hc_abs_error"]
    line = next(line for line in lines if " all " in line)
    assert f"{estimate['mean']:.1f} (3)" in line


@pytest.mark.parametrize(
    ("command", "outputs", "expected"),
    [
        (["python", "-m", "salip_exp", "a=1"], "outputs", "python -m salip_exp task=report"),
        (["salip-exp"], "my runs", "salip-exp task=report 'outputs=my runs'"),
    ],
)
def test_the_next_command_can_be_typed(command, outputs, expected):
    assert next_command(command, outputs) == expected


@pytest.mark.parametrize(
    ("n", "words", "said"),
    [
        (1, "case file", "1 case file"),
        (2, "case file", "2 case files"),
        (0, "case", "0 cases"),
        (1, "[mask has no image of its|masks have no image of their] name", "1 mask has no image of its name"),
        (3, "[study|studies]", "3 studies"),
    ],
)
def test_what_is_counted_agrees_with_its_number(n, words, said):
    assert many(n, words) == said


def test_wording_never_makes_up_a_number():
    empty = {"mean": None, "sd": None, "low": None, "high": None}
    assert spread(empty) == number(None) == "missing"
    one = {"mean": 0.5, "sd": None, "low": 0.5, "high": 0.5, "interval": "none"}
    assert spread(one) == "0.500 [–]"
    assert spread(one | {"sd": 0.1, "low": 0.4, "high": 0.6, "interval": "bca"}) == "0.500 ± 0.100 [0.400, 0.600]"
    assert tally({"none": 5, "sam": 1, "clip": 3}, "none") == "clip 3, sam 1"
    assert tally({"none": 5}, "none") == "–"
