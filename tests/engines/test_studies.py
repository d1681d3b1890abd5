"""A study whose workers SLURM or Ray starts, on a PostgreSQL that is restarted under them: the study of one process.

`.ci/with_postgres .venv/bin/python -m pytest -m slow tests/engines/test_studies.py` runs it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

POSTGRES = os.environ.get("SALIP_TEST_POSTGRES")
RESTART = os.environ.get("SALIP_TEST_POSTGRES_RESTART")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(POSTGRES is None or RESTART is None, reason="no PostgreSQL: .ci/with_postgres starts one"),
]
TRIALS = 100
STUDY = [
    *("task=tune", "dataset=phantom_hc18", "dataset.phantom.n=12", "sam.points_per_side=4", "tuning=random"),
    *(f"tuning.n_trials={TRIALS}", "tuning.held_out=4", "threads=1", "device=cpu", "progress=false"),
]


@pytest.fixture
def storage() -> Iterator[str]:
    """A database of its own on the server, gone afterwards."""
    server = sqlalchemy.create_engine(str(POSTGRES), isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.pool.NullPool)
    name = f"salip_{uuid.uuid4().hex[:12]}"
    with server.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name}"))
    yield sqlalchemy.make_url(str(POSTGRES)).set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("serial")
    assert begin(folder / "study", f"cache.folder={folder / 'cache'}").wait() == 0
    return folder / "study"


def begin(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "salip_exp", *STUDY, f"hydra.run.dir={folder}", *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def complete(storage: str) -> list[int]:
    """Numbers of the trials that are done."""
    engine = sqlalchemy.create_engine(storage, poolclass=sqlalchemy.pool.NullPool)
    try:
        with engine.connect() as connection:
            found = connection.execute(sqlalchemy.text("SELECT number FROM trials WHERE state = 'COMPLETE'"))
            return sorted(number for (number,) in found)
    except sqlalchemy.exc.DBAPIError:  # no tables yet, or it is being restarted
        return []


@pytest.mark.parametrize("engine", ["slurm", "ray"])
def test_workers_of_an_executor_share_a_study_whatever_its_database_does(
    engine: str, request: pytest.FixtureRequest, serial: Path, storage: str, tmp_path: Path, until: Callable[..., None]
) -> None:
    places: Any = request.getfixturevalue("slurm") if engine == "slurm" else pytest.importorskip("ray")
    assert places is not None
    more = [f"executor={engine}", "executor.workers=3", f"tuning.storage={storage}", f"cache.folder={tmp_path / 'c'}"]
    study = begin(tmp_path / "study", *more)
    for after in (15, 40, 65):
        until(lambda after=after: len(complete(storage)) >= after, study)
        subprocess.run([str(RESTART)], check=True, capture_output=True)
    assert study.wait() == 0
    assert complete(storage) == list(range(TRIALS))
    assert (tmp_path / "study" / "trials.csv").read_bytes() == (serial / "trials.csv").read_bytes()
