"""The commands themselves, on phantoms with the embedded networks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._commands import tune
from salip_exp._settings.folders import is_unfinished, run_name
from salip_exp.config import Config, Task


@pytest.fixture(scope="module")
def stubs(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(Path(__file__).parents[1] / "tuning" / "stubs.py")


PHANTOMS = ["dataset=phantom_hc18", "dataset.phantom.n=7", "tuning.space.points_per_side.choices=[8]", "threads=2"]
QUICK = ["figures=none", "progress=false", "tuning.draws=1"]


def command(place: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "salip_exp", f"cache.folder={place / 'cache'}", *PHANTOMS, *arguments]


def run(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(place, *QUICK, *arguments), cwd=place, capture_output=True, text=True, check=False)


def test_a_study_has_one_folder_whatever_its_total_and_workers() -> None:
    def name(*overrides: str) -> str:
        return run_name("outputs", "hc18", Task.tune, overrides, False)

    assert name("task=tune", "dataset=hc18") == name(
        "dataset=hc18", "task=tune", "tuning.n_trials=9", "tuning.n_workers=2"
    )
    assert name("task=tune") == str(Path("hc18", "tune", "default"))
    assert name("task=tune", "sam=tiny") != name("task=tune")


def test_a_run_that_was_killed_while_it_tuned_can_be_continued(tmp_path: Path) -> None:
    assert not is_unfinished(tmp_path)
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "study.db").touch()
    assert is_unfinished(tmp_path)
    (tmp_path / "summary.json").touch()
    assert not is_unfinished(tmp_path)


def test_a_worker_typed_by_hand_says_what_makes_the_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for code, said in ((0, "no trial is left for this worker; the same command without shard"), (143, "")):
        monkeypatch.setattr(tune, "take_part", lambda *_, code=code: code)
        assert tune.command(Config(task=Task.tune, shard="auto"), tmp_path, []) == code
        assert capsys.readouterr().err.startswith(said) and bool(said) is (code == 0)


@pytest.mark.slow
def test_two_workers_tune_and_tpe_and_grid_too(tmp_path: Path) -> None:
    for sampler in ("random", "tpe", "grid"):
        folder = tmp_path / sampler
        ended = run(tmp_path, "task=tune", f"tuning={sampler}", "tuning.n_trials=6", "tuning.n_workers=2",
                    f"hydra.run.dir={folder}")  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        assert "optuna-dashboard sqlite:///" in ended.stdout
        report = json.loads((folder / "study.json").read_text())
        assert report["trials"] == {"total": 6, "failed": 0}
        assert report["winner"]["held_out"]["n"] == 2


@pytest.mark.slow
def test_a_run_tunes_first_and_leaves_its_tuning_images_out(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ended = run(tmp_path, "tuning=random", "tuning.n_trials=6", f"hydra.run.dir={folder}")
    assert ended.returncode == 0, ended.stderr
    manifest = json.loads((folder / "manifest.json").read_text())
    images = (folder / "study" / "images.txt").read_text().splitlines()
    assert [each["case_id"] for each in manifest["data"]["excluded"]] == images
    assert json.loads((folder / "summary.json").read_text())["overall"]["cases"] == 2


@pytest.mark.slow
def test_a_signal_ends_a_study_after_the_trial_at_hand_and_the_same_command_continues(
    tmp_path: Path, stubs: ModuleType, until: Callable[..., None]
) -> None:
    folder = tmp_path / "study"
    arguments = [*QUICK, "task=tune", "tuning.n_trials=400", f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command(tmp_path, *arguments), cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    until(lambda: stubs.finished(f"sqlite:///{folder / 'study.db'}"), process)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "the same command continues" in err
    done = len((folder / "trials.csv").read_text().splitlines()) - 1
    assert done < 400
    ended = run(tmp_path, "task=tune", f"tuning.n_trials={done + 5}", "tuning.draws=0", f"hydra.run.dir={folder}")
    assert ended.returncode == 0, ended.stderr
    assert json.loads((folder / "study.json").read_text())["search"]["done"] == 5
