"""A study that is killed, or shared by many processes, is the study of one process that nobody disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import sqlalchemy
import torch

PROGRAM = Path(__file__).with_name("stubs.py")
TRIALS = 48
POSTGRES = os.environ.get("SALIP_TEST_POSTGRES")


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the stub study as processes of its own."""
    command = [sys.executable, "-W", "ignore", str(PROGRAM), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes that are killed."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def undisturbed(stubs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that ran through at once."""
    folder = tmp_path_factory.mktemp("undisturbed") / "study"
    assert stubs.study(folder, TRIALS) == 0
    return folder


@pytest.fixture(scope="module")
def continued(stubs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that was asked for a part of the trials first."""
    folder = tmp_path_factory.mktemp("continued") / "study"
    for trials in (TRIALS // 3, TRIALS):
        assert stubs.study(folder, trials) == 0
    return folder


def assert_same(folder: Path, other: Path) -> None:
    """The same table of trials, winner, and figures that follow from them."""
    assert (folder / "trials.csv").read_bytes() == (other / "trials.csv").read_bytes()
    ours, theirs = (json.loads((each / "study.json").read_text()) for each in (folder, other))
    for name in ("study", "images", "best", "winner", "default", "objectives", "space", "trials"):
        assert ours[name] == theirs[name], name
    bodies = [(each / "tuned.yaml").read_text().split("version:")[1] for each in (folder, other)]
    assert bodies[0] == bodies[1]


def assert_whole(url: str, study: str) -> None:
    """In the database every trial is there once, complete, and numbered without a gap."""
    engine = sqlalchemy.create_engine(url)
    query = "SELECT number, state FROM trials JOIN studies USING (study_id) WHERE study_name = :name ORDER BY number"
    with engine.connect() as connection:
        rows = [(number, str(state)) for number, state in connection.execute(sqlalchemy.text(query), {"name": study})]
    engine.dispose()
    assert [number for number, _ in rows][:TRIALS] == list(range(TRIALS))
    assert [state for _, state in rows[:TRIALS]] == ["COMPLETE"] * TRIALS
    assert [state for _, state in rows[TRIALS:]] == ["WAITING"] * (len(rows) - TRIALS)


@pytest.mark.ci
@pytest.mark.fault("S1")
def test_killed_five_times_at_random_moments_and_resumed(undisturbed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    ended = program("killed", folder, TRIALS, 5, 7)
    assert ended.returncode == 0, ended.stderr
    reached = json.loads(ended.stdout)
    assert len(reached) == 5
    assert 0 < reached[0] < reached[-1] < TRIALS
    assert_same(folder, undisturbed)
    study = json.loads((folder / "study.json").read_text())["study"]
    assert_whole(f"sqlite:///{folder / 'study.db'}", study)


@pytest.mark.ci
def test_work_is_counted_over_all_calls_of_a_study(undisturbed: Path, continued: Path) -> None:
    once, twice = (json.loads((each / "study.json").read_text())["counters"] for each in (undisturbed, continued))
    assert once["encoder_calls"] == 5  # the tuning images, each once
    assert once == twice


@pytest.mark.ci
@pytest.mark.fault("S1")
def test_four_processes_on_one_sqlite_file_two_of_them_killed(undisturbed: Path, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    together(url, undisturbed, tmp_path / "places")


@pytest.mark.ci
@pytest.mark.skipif(POSTGRES is None, reason="SALIP_TEST_POSTGRES names no server; .ci/with_postgres starts one")
def test_four_processes_on_postgresql_two_of_them_killed(postgres: str, undisturbed: Path, tmp_path: Path) -> None:
    together(postgres, undisturbed, tmp_path / "places")


@pytest.fixture
def postgres() -> Iterator[str]:
    """A database of its own on the server, removed afterwards."""
    assert POSTGRES is not None
    name = f"salip_{uuid.uuid4().hex[:12]}"
    server = sqlalchemy.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield sqlalchemy.make_url(POSTGRES).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


def together(url: str, undisturbed: Path, places: Path) -> None:
    ended = program("together", places, TRIALS, 4, 2, url)
    assert ended.returncode == 0, ended.stderr
    assert any(json.loads(ended.stdout)), "none was killed before the end"
    for i in (2, 3):
        assert_same(places / f"worker {i}", undisturbed)
    study = json.loads((places / "worker 2" / "study.json").read_text())["study"]
    assert_whole(url, study)


@pytest.mark.ci
def test_a_larger_total_continues_and_keeps_what_is_there(undisturbed: Path, continued: Path) -> None:
    assert_same(continued, undisturbed)
    with contextlib.closing(sqlite3.connect(continued / "study.db")) as connection:
        assert connection.execute("SELECT COUNT(*) FROM trials").fetchone() == (TRIALS,)
