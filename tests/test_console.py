"""Progress is a bar on a terminal, plain lines elsewhere, and nothing where it is not wanted."""

from __future__ import annotations

import sys

import pytest

from salip_exp._console import progress


@pytest.mark.parametrize("terminal", [True, False])
def test_nothing_appears_where_it_is_not_wanted(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress(3, visible=False, unit="case") as report:
        report("mean DSC 0.500")
    assert capsys.readouterr() == ("", "")


def test_plain_lines_tell_rate_time_left_and_score_now_and_then(capsys):
    with progress(200, visible=True, unit="case") as report:
        for _ in range(200):
            report("mean DSC 0.500 (n=1)")
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 10 and "\r" not in err
    assert lines[0].startswith("20/200 cases, ") and lines[-1].startswith("200/200 cases, ")
    assert all("s each" in line and "s left" in line and "mean DSC 0.500 (n=" in line for line in lines)


def test_a_terminal_gets_a_bar_that_is_redrawn_in_place(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(2, visible=True, unit="case") as report:
        report("mean DSC 0.500 (n=1)")
        report("mean DSC 0.500 (n=2)")
    err = capsys.readouterr().err
    assert "\r" in err and "2/2" in err and "mean DSC 0.500 (n=2)" in err


def test_what_was_there_already_counts_as_done_and_not_in_the_rate(capsys, monkeypatch):
    clock = iter([0.0, 1.0, 2.0, 10.0])
    monkeypatch.setattr("salip_exp._console.time.monotonic", lambda: next(clock))
    with progress(4, visible=True, unit="trial") as report:
        report("old", new=False)
        report("old", new=False)
        report("best 0.9")
    assert capsys.readouterr().err == "3/4 trials, 10.00 s each, 10 s left, best 0.9\n"
