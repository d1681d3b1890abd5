"""An experiment runs what is missing, survives what fails, and continues after a kill in the same tables."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from salip_exp import ledger
from salip_exp._commands import experiment
from salip_exp._experiments import cell_runs, composing, results
from salip_exp._experiments.cell_runs import Unfinished
from salip_exp._experiments.cells import Finished
from salip_exp._paper import table
from salip_exp._reports import listeners
from salip_exp._runs import lab as shared
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.errors import CaseError, ConfigError, DataError, EnvironmentFault, WeightsError

FAKES = Path(__file__).with_name("fakes.py")


class Laboratory:
    """Types experiments in an empty folder; no network is asked."""

    def __init__(self, fakes: ModuleType, patch: pytest.MonkeyPatch, outputs: Path) -> None:
        self.fakes, self.patch, self.outputs = fakes, patch, outputs
        self.ran: list[str] = []
        patch.setattr(shared, "open_dataset", fakes.images)
        patch.setattr(experiment, "write_experiment", lambda folder, outputs: None)
        patch.setattr(listeners, "write_page", lambda folder: None)
        patch.setattr(composing, "compose", lambda overrides: fakes.composed_once(tuple(overrides)))
        self.before(lambda config, case: None)

    def before(self, act: Callable[[Config, Case], None]) -> None:
        """What happens before a case is predicted."""
        self.patch.setattr(cell_runs, "execute", self.fakes.runs(self.ran, before=act))

    def __call__(self, *overrides: str) -> int:
        """The exit code of an experiment."""
        config, command = self.fakes.configured(self.outputs, *overrides, "figures=none")
        return experiment.command(config, self.outputs / "study", command)

    @property
    def study(self) -> dict[str, Any]:
        return json.loads((self.outputs / "study" / "study.json").read_text())

    def cells(self, table: int = 0) -> dict[tuple[str, str], dict[str, Any]]:
        rows = self.study["tables"][table]["rows"]
        return {(row["label"], cell["column"]): cell for row in rows for cell in row["cells"]}


@pytest.fixture
def lab(fakes: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Laboratory:
    return Laboratory(fakes, monkeypatch, tmp_path)


def test_a_table_has_its_cells_side_by_side_and_every_form_of_it_is_written(lab: Laboratory) -> None:
    assert lab("+experiment=table6") == 0
    assert len(lab.ran) == 6
    cell = lab.cells()["CC359", "no_filter"]
    assert (cell["paper"], cell["n"], cell["state"], cell["why"]) == (0.91, 12, "finished", "")
    assert cell["dsc"]["mean"] < lab.cells()["CC359", "salip"]["dsc"]["mean"]
    assert 0 < cell["p"] < 0.05
    assert lab.cells()["CC359", "salip"]["p"] is None
    assert (lab.outputs / cell["run"] / "summary.json").exists()
    (told,) = lab.study["tables"][0]["differing"]
    assert (told["key"], told["theirs"], told["own"], told["rows"]) == ("area.enabled", "true", "false", [])
    text = (lab.outputs / "study" / "table6.txt").read_text()
    said = "no filter differs from filter in area.enabled=false (not true)."
    assert text.index(said) < text.index("Table 6")
    assert lab.study["tables"][0]["reading"].startswith("The paper's ordering holds here.")
    assert lab.study["kind"] == "experiment"
    assert "embedded weights: trained on synthetic images only" in lab.study["notes"]
    assert {path.suffix for path in (lab.outputs / "study").glob("table6.*")} == {".csv", ".md", ".tex", ".txt"}


@pytest.mark.ci
def test_finished_cells_are_not_run_again_by_this_or_by_another_table(lab: Laboratory) -> None:
    assert lab("+experiment=table6") == 0
    first = lab.cells()
    assert lab("+experiment=table6") == 0
    assert len(lab.ran) == 6
    assert lab.cells() == first
    assert lab("+experiment=table5") == 0
    assert len(lab.ran) == 9  # SAM + CLIP; SaLIP is there
    assert lab.study["counters"]["cells"] == 6


@pytest.mark.ci
def test_other_settings_and_other_images_are_other_cells(lab: Laboratory) -> None:
    lab("+experiment=table6", "experiment.parts=[table6]")
    lab("+experiment=table6", "view.margin=3")
    assert len(lab.ran) == 12
    lab("+experiment=table6", "dataset.limit=6")
    assert len(lab.ran) == 18
    assert lab.cells()["X-ray", "salip"]["n"] == 6


@pytest.mark.ci
def test_a_failed_cell_is_noted_and_the_others_go_on(lab: Laboratory, capsys: pytest.CaptureFixture[str]) -> None:
    def fail(config: Config, case: Case) -> None:
        if config.dataset.name == "phantom_xray" and not config.area.enabled:
            raise DataError("the disc is scratched")

    lab.before(fail)
    assert lab("+experiment=table6") == 5
    cell = lab.cells()["X-ray", "no_filter"]
    assert (cell["state"], cell["why"], cell["dsc"], cell["n"]) == ("failed", "the disc is scratched", None, None)
    assert sum(each["state"] == "finished" for each in lab.cells().values()) == 5
    assert "failed: no_filter on xray: the disc is scratched" in capsys.readouterr().err
    assert "in 2 of 2 rows, clearly in 2; not told for X-ray." in lab.study["tables"][0]["reading"]
    lab.before(lambda config, case: None)
    assert lab("+experiment=table6") == 0
    assert len(lab.ran) == 7


@pytest.mark.ci
def test_a_cell_with_too_many_failed_cases_shows_how_far_it_came(lab: Laboratory) -> None:
    def fail(config: Config, case: Case) -> None:
        if config.dataset.name == "phantom_hc18" and case.case_id in ("case_03", "case_05"):
            raise CaseError("E_READ", f"{case.case_id} is torn")

    lab.before(fail)
    assert lab("+experiment=table6") == 5
    cell = lab.cells()["Ultrasound", "salip"]
    assert (cell["state"], cell["n"], cell["of"], cell["dsc"]) == ("failed", 10, 12, None)
    assert "2 of 12 cases failed" in cell["why"]
    assert "missing (10/12) [a]" in (lab.outputs / "study" / "table6.txt").read_text()
    assert lab("+experiment=table6", "max_failed=0.5") == 0
    assert lab.cells()["Ultrasound", "salip"]["dsc"]["n"] == 10


@pytest.mark.ci
def test_a_fault_of_the_program_in_one_cell_leaves_the_others(lab: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = cell_runs.execute

    def faulty(config: Config, *rest: Any, **more: Any) -> int:
        if config.dataset.name == "phantom_hc18":
            raise ZeroDivisionError("by zero")
        return ran(config, *rest, **more)

    monkeypatch.setattr(cell_runs, "execute", faulty)
    assert lab("+experiment=table6") == 5
    assert "ZeroDivisionError: by zero" in lab.cells()["Ultrasound", "salip"]["why"]
    assert lab.cells()["X-ray", "salip"]["state"] == "finished"


@pytest.mark.ci
def test_what_is_not_on_this_machine_is_missing_and_no_failure(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "cache"))
    assert lab("+experiment=table4", "dataset.limit=2") == 0
    cells = lab.cells()
    assert {cells[label, "vit_h"]["state"] for label in ("CC359", "X-ray", "Ultrasound")} == {"missing"}
    assert "sam=vit_h are not on this machine" in cells["CC359", "vit_h"]["why"]
    assert cells["CC359", "tiny"]["state"] == "finished"
    assert cells["CC359", "tiny"]["p"] is None  # it is SaLIP itself


@pytest.mark.ci
def test_real_data_that_is_absent_is_missing_and_the_others_run(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SALIP_DATA", raising=False)
    (tmp_path / "heads").mkdir()
    real = ["data=real", f"experiment.roots.hc18={tmp_path / 'heads'}", "sam=tiny", "clip=tiny"]
    assert lab("+experiment=table6", *real) == 0
    assert lab.cells()["Ultrasound", "salip"]["state"] == "finished"
    assert "experiment.roots.cc359=DIR" in lab.cells()["CC359", "salip"]["why"]
    assert lab.study["data"] == "real"
    scored = lab.cells()["Ultrasound", "salip"]["n"]
    assert f"hc18: {scored} images are scored of the 200 that experiment.images.hc18 asks for" in lab.study["notes"]


@pytest.mark.ci
def test_weights_that_cannot_be_fetched_are_missing(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(config: Config, *rest: Any, **more: Any) -> int:
        raise WeightsError("the server cannot be reached")

    monkeypatch.setattr(cell_runs, "execute", refuse)
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "heads").mkdir()
    assert lab("+experiment=table6", "data=real", f"experiment.roots.hc18={tmp_path / 'heads'}") == 0
    assert lab.cells()["Ultrasound", "salip"]["why"] == "the server cannot be reached"
    assert lab.cells()["Ultrasound", "salip"]["state"] == "missing"


@pytest.mark.ci
def test_a_signal_ends_after_the_case_at_hand_and_the_same_command_continues(
    lab: Laboratory, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def interrupt(config: Config, case: Case) -> None:
        seen.append((config.dataset.name, config.area.enabled, case.case_id))
        if len(seen) == 18:
            os.kill(os.getpid(), signal.SIGTERM)

    lab.before(interrupt)
    assert lab("+experiment=table6") == 143
    assert "stopped after 1 of 6 cells; the same command continues" in capsys.readouterr().err
    assert "the same command continues" in lab.cells()["Ultrasound", "salip"]["why"]
    assert lab("+experiment=table6") == 0
    assert len(seen) == len(set(seen)) == 6 * 12


@pytest.mark.ci
def test_one_study_folder_is_one_experiment_at_a_time(lab: Laboratory) -> None:
    def again(config: Config, case: Case) -> None:
        with pytest.raises(EnvironmentFault, match="is in use"):
            lab("+experiment=table5")
        raise DataError("seen")

    lab.before(again)
    assert lab("+experiment=table5", "dataset.limit=1") == 5


def test_a_data_set_typed_for_all_cells_is_refused_before_anything_runs(lab: Laboratory) -> None:
    with pytest.raises(ConfigError, match="data=phantoms or data=real"):
        lab("+experiment=table6", "dataset=phantom_hc18")
    assert not lab.ran


@pytest.mark.ci
def test_columns_made_of_other_images_are_not_put_side_by_side(lab: Laboratory) -> None:
    assert lab("+experiment=table6") == 0
    config, _ = lab.fakes.configured(lab.outputs, "+experiment=table6", "figures=none")
    runner = cell_runs.CellRunner(config, [f"outputs={lab.outputs}", "figures=none"])
    cells = [cell for cell in experiment.plan(["table6"]) if cell.dataset == "hc18"]
    found = {(cell.dataset, cell.column): runner.outcome(cell) for cell in cells}
    assert not any(isinstance(each, Unfinished) for each in found.values())
    other = found["hc18", "no_filter"]
    assert isinstance(other, Finished)
    changed = [replace(other.records[0], fingerprint="of another image"), *other.records[1:]]
    found["hc18", "no_filter"] = replace(other, records=changed)
    entries = results.result_of(table("table6"), found, config).rows[2][1]
    states = {key: entry.state for key, entry in entries.items()}
    assert sorted(states.values()) == ["failed", "finished"]
    assert any("case_00 is another image" in entry.why for entry in entries.values())


@pytest.mark.ci
def test_a_group_without_cases_is_missing(lab: Laboratory) -> None:
    assert lab("+experiment=table1", "dataset.limit=1", "experiment.parts=[table1]") == 5  # U-Nets cannot be built here
    cells = lab.cells()
    assert cells["GE 1.5", "salip"]["n"] == 1
    assert (cells["Siemens 3", "salip"]["state"], cells["Siemens 3", "salip"]["why"]) == (
        "missing",
        "no case of the group Siemens 3",
    )


def started(arguments: list[str]) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, str(FAKES), *arguments], stdout=subprocess.DEVNULL, env=environment)


def lines(log: Path) -> list[str]:
    return log.read_text().splitlines() if log.exists() else []


@pytest.mark.slow
def test_killed_twice_it_ends_in_the_same_table_and_no_cell_is_run_twice(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    logs = [tmp_path / "whole.log", tmp_path / "killed.log"]
    assert started([str(whole), "0", str(logs[0]), "table6"]).wait() == 0
    stamps: dict[Path, int] = {}
    for cases in (15, 40):  # in the second cell, and in the fourth
        process = started([str(killed), "0.05", str(logs[1]), "table6"])
        while len(lines(logs[1])) < cases:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        stamps |= {path: path.stat().st_mtime_ns for path in killed.glob("cells/*/*/*/summary.json")}
    assert len(stamps) >= 2
    assert started([str(killed), "0", str(logs[1]), "table6"]).wait() == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert set(lines(logs[0])) == set(lines(logs[1]))
    assert len(lines(logs[1])) <= len(lines(logs[0])) + 2  # the case at hand, of each kill
    for name in ("table6.csv", "table6.md", "table6.tex"):
        assert (whole / "experiments/study" / name).read_text() == (killed / "experiments/study" / name).read_text()


@pytest.mark.ci
def test_the_ledger_names_no_place_and_has_every_number(lab: Laboratory, tmp_path: Path) -> None:
    assert lab("+experiment=everything", "experiment.parts=[table5,table6]", "dataset.limit=4") == 0
    folders = ledger.write_ledger(lab.outputs / "study", tmp_path / "ledger")
    assert [folder.name for folder in folders] == ["table5", "table6", "everything"]
    readme = (tmp_path / "ledger" / "table6" / "README.md").read_text()
    assert "python -m salip_exp +experiment=table6 dataset.limit=4" in readme
    assert lab.study["tables"][1]["reading"] in readme.replace("\\", "")
    with (tmp_path / "ledger" / "table6" / "table6.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert float(rows[0]["dsc"]) == pytest.approx(lab.cells(1)["CC359", "no_filter"]["dsc"]["mean"], abs=1e-5)
    texts = [path.read_text() for path in (tmp_path / "ledger").rglob("*") if path.is_file()]
    assert not any(str(tmp_path) in text or str(Path.home()) in text for text in texts)


def test_a_ledger_s_command_leaves_places_out() -> None:
    command = "python -m salip_exp +experiment=everything data=real experiment.roots.hc18=/data/x outputs=/tmp/y seed=3"
    assert ledger._command_of(command, "table6") == (
        "python -m salip_exp +experiment=table6 data=real experiment.roots.hc18=DIR seed=3"
    )


def test_a_ledger_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ledger.main([str(tmp_path), str(tmp_path / "ledger")]) == 3
    assert "holds no experiment" in capsys.readouterr().err
