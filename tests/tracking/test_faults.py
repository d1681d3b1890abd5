"""wandb in every way broken: one warning, a finished run, full results, and all that was told kept offline."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from salip_exp._tracking import wandb_tracker
from salip_exp._tracking.wandb_tracker import Child
from salip_exp.config import TrackerConfig, TrackerMode, TrackerName

pytestmark = pytest.mark.slow
KEY = "0123456789" * 4
PATIENCE = 3.0


@pytest.fixture(scope="module")
def plain(fakes, tmp_path_factory):
    """The rows of a run that nobody listened to."""
    folder = tmp_path_factory.mktemp("plain") / "run"
    assert fakes.run_fake(folder) == 0
    return fakes.rows_without_seconds(folder)


@pytest.fixture(autouse=True)
def user(monkeypatch, tmp_path) -> None:
    """Somebody with a key, and without settings of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """How long the run was ready to wait for wandb, each time it did."""
    found: list[float] = []
    hear = Child.hear
    monkeypatch.setattr(Child, "hear", lambda self, limit: (found.append(limit), hear(self, limit))[1])
    return found


@pytest.fixture
def run(fakes, plain, tmp_path, capsys, monkeypatch):
    """A run told to wandb online; full results are certain when it returns. Gives its folder and the warnings."""

    def start(url: str, patience: float = PATIENCE, **more: bool) -> tuple[Path, list[str]]:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        folder = tmp_path / "run"
        tracker = TrackerConfig(name=TrackerName.wandb, mode=TrackerMode.online, patience_s=patience, **more)
        assert fakes.run_fake(folder, tracker=tracker) == 0
        assert fakes.rows_without_seconds(folder) == plain
        assert (folder / "report.html").exists()
        for path in folder.rglob("*"):
            assert not path.is_file() or KEY.encode() not in path.read_bytes(), path
        return folder, [line for line in capsys.readouterr().err.splitlines() if "wandb" in line.lower()]

    return start


def whole(told) -> bool:
    """Whether a run has all that there is to tell."""
    return len(told.history) >= 12 and told.exit_code == 0 and {"dsc/all", "cases"} <= set(told.summary)


def test_a_server_that_answers_is_told_all(servers, run):
    with servers.serving() as server:
        folder, warnings = run(server.url, patience=60.0)
    assert warnings == []
    assert len(server.streamed["wandb-history.jsonl"]) >= 12
    assert '"dsc/all"' in "".join(server.streamed["wandb-summary.json"])
    assert server.seen.count("CreateArtifact") == 4  # three tables, one artefact
    assert not list(folder.glob("wandb/offline-run-*"))


def test_a_workspace_is_saved_where_it_is_asked_for(servers, run):
    pytest.importorskip("wandb_workspaces")
    with servers.serving() as server:
        folder, warnings = run(server.url, patience=60.0, workspace=True)
    assert warnings == []
    assert not list(folder.glob("wandb/offline-run-*"))
    (view,) = server.views
    assert (view["entityName"], view["projectName"]) == ("someone", "salip_exp")
    assert view["displayName"] == "fake: scores by group"
    sections = view["spec"]["section"]["panelBankConfig"]["sections"]
    drawn = {
        each["name"]: {panel["config"]["chartTitle"]: panel["config"]["metrics"] for panel in each["panels"]}
        for each in sections
    }
    assert list(drawn)[:3] == ["scores by group", "losses and failures", "counters"]
    assert drawn["scores by group"]["dsc"] == ["dsc/group 0", "dsc/group 1", "dsc/all"]
    assert "counters/work encoder_calls" in drawn["counters"]["work"]
    assert [each["isOpen"] for each in sections[:3]] == [True, False, False]


def test_a_server_that_keeps_no_workspace_has_the_run_kept_offline(servers, run, wandb_file, monkeypatch):
    pytest.importorskip("wandb_workspaces")
    answer = servers._Handler._data
    refused = {"upsertView": None}
    monkeypatch.setattr(
        servers._Handler, "_data", lambda self, name, v: refused if name == "UpsertView2" else answer(self, name, v)
    )
    with servers.serving() as server:
        folder, warnings = run(server.url, patience=60.0, workspace=True)
    assert len(warnings) == 1 and "offline instead" in warnings[0]
    assert whole(wandb_file.read_run(folder))


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_server_that_refuses(servers, run, wandb_file, waits, status):
    with servers.serving(good=0, then=status) as server:
        folder, warnings = run(server.url)
    assert len(warnings) == 1
    assert str(status) in warnings[0] and "offline instead" in warnings[0]
    assert whole(wandb_file.read_run(folder))
    local = wandb_tracker.LOCAL_S
    assert waits == [local, PATIENCE, local, local, local]  # online: begun, refused; offline: begun, open, done


def test_nobody_listens(servers, run, wandb_file):
    with servers.refusing() as url:
        folder, warnings = run(url)
    assert len(warnings) == 1
    assert "connection refused" in warnings[0]
    assert whole(wandb_file.read_run(folder))


def test_a_server_that_takes_the_request_and_never_answers(servers, run, wandb_file, waits):
    with servers.serving(good=0, then=servers.HANG) as server:
        folder, warnings = run(server.url)
    assert len(warnings) == 1
    assert whole(wandb_file.read_run(folder))
    local = wandb_tracker.LOCAL_S
    assert waits == [local, PATIENCE, local, local, local]


@pytest.mark.parametrize(("good", "then"), [(3, 403), (6, 403), (12, 500), (3, 0)])
def test_a_server_that_fails_half_way(servers, run, wandb_file, waits, good, then):
    with servers.serving(good, then) as server:
        folder, warnings = run(server.url, patience=5.0)
    assert len(warnings) == 1
    assert "offline instead" in warnings[0]
    assert whole(wandb_file.read_run(folder))
    local = wandb_tracker.LOCAL_S
    assert waits == [local, 5.0, 5.0, local, local, local]


def test_a_user_without_a_key(servers, run, wandb_file, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY")
    with servers.serving() as server:
        folder, warnings = run(server.url)
    assert len(warnings) == 1
    assert "No API key configured" in warnings[0]
    assert server.seen == []
    assert whole(wandb_file.read_run(folder))


def test_a_package_that_is_not_there(run, tmp_path, monkeypatch):
    (tmp_path / "absent" / "wandb").mkdir(parents=True)
    (tmp_path / "absent" / "wandb" / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'wandb'\")")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "absent"))
    folder, warnings = run("http://127.0.0.1:9")
    assert len(warnings) == 1
    assert "No module named 'wandb'" in warnings[0] and "pip install wandb" in warnings[0]
    assert not list(folder.glob("wandb/*run-*"))


def test_a_package_that_dies(run, tmp_path, monkeypatch):
    (tmp_path / "broken" / "wandb").mkdir(parents=True)
    (tmp_path / "broken" / "wandb" / "__init__.py").write_text("import os; os._exit(9)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    _, warnings = run("http://127.0.0.1:9")
    assert len(warnings) == 1
    assert "ended with code 9" in warnings[0]


def test_a_folder_that_wandb_cannot_have(run, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "wandb").write_text("somebody's file")
    _, warnings = run("http://127.0.0.1:9")
    assert len(warnings) == 1
    assert "cannot be started" in warnings[0]


def test_nothing_of_it_is_imported_into_the_run_or_printed(tmp_path, fakes):
    program = (
        f"import sys; sys.path.insert(0, {str(Path(fakes.__file__).parent)!r}); import fakes; "
        "from pathlib import Path; from salip_exp.config import *; "
        "code = fakes.run_fake(Path(sys.argv[1]), tracker=TrackerConfig(TrackerName.wandb)); "
        "sys.exit(code or 'wandb' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")], capture_output=True, env=os.environ)
    assert done.returncode == 0
    assert b"wandb" not in done.stdout + done.stderr
