"""A study that is killed, or shared by many processes, is the study of one process that nobody disturbed."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
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
RESTART = os.environ.get("SALIP_TEST_POSTGRES_RESTART")
MANY = 100


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


def assert_whole(url: str, study: str, total: int = TRIALS) -> None:
    """In the database every trial is there once, complete, and numbered without a gap."""
    engine = sqlalchemy.create_engine(url)
    query = "SELECT number, state FROM trials JOIN studies USING (study_id) WHERE study_name = :name ORDER BY number"
    with engine.connect() as connection:
        rows = [(number, str(state)) for number, state in connection.execute(sqlalchemy.text(query), {"name": study})]
    engine.dispose()
    assert [number for number, _ in rows][:total] == list(range(total))
    assert [state for _, state in rows[:total]] == ["COMPLETE"] * total
    assert [state for _, state in rows[total:]] == ["WAITING"] * (len(rows) - total)


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


@pytest.mark.ci
@pytest.mark.skipif(
    RESTART is None, reason="SALIP_TEST_POSTGRES_RESTART restarts no server; .ci/with_postgres says how"
)
def test_postgresql_is_restarted_three_times_under_four_processes(
    stubs: ModuleType, postgres: str, tmp_path: Path
) -> None:
    assert stubs.study(tmp_path / "undisturbed", MANY) == 0
    command = [sys.executable, "-W", "ignore", PROGRAM, "together", tmp_path / "places", MANY, 4, 0, postgres]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, env=environment) as workers:
        for after in (20, 50, 80):
            while complete(postgres) < after:
                assert workers.poll() is None
                time.sleep(0.05)
            subprocess.run([str(RESTART)], check=True, capture_output=True)
        assert workers.wait() == 0
    for i in range(4):
        assert_same(tmp_path / "places" / f"worker {i}", tmp_path / "undisturbed")
    study = json.loads((tmp_path / "places" / "worker 0" / "study.json").read_text())["study"]
    assert_whole(postgres, study, MANY)


def complete(url: str) -> int:
    """How many trials are done."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    try:
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text("SELECT COUNT(*) FROM trials WHERE state = 'COMPLETE'"))
            return int(found.scalar_one())
    except sqlalchemy.exc.DBAPIError:  # no tables yet
        return 0


@pytest.fixture
def postgres() -> Iterator[str]:
    """A database of its own on the server, removed afterwards."""
    assert POSTGRES is not None
    name = f"salip_{uuid.uuid4().hex[:12]}"
    server = sqlalchemy.create_engine(POSTGRES, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.pool.NullPool)
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
