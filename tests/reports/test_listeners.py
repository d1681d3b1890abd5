"""What people see of a run as it goes on."""

from __future__ import annotations

from salip_exp.errors import CaseError
from salip_exp.runs.folder import read_pictures
from salip_exp.runs.runner import run


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
