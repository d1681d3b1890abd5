"""A trial belongs to one living process at a time, and is never lost, repeated, or given another number."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import optuna
import pytest
import sqlalchemy
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial

from salip_exp._settings.tuning import AREA
from salip_exp._tuning.database import CLAIMS, Claim, Database
from salip_exp._tuning.space import Dimension, Space, samplers
from salip_exp._tuning.tune import StudyListener, study_in
from salip_exp.cache.store import MemoryStore
from salip_exp.config import Config, Sampler, TuningConfig
from salip_exp.errors import EnvironmentFault

TOTAL = 12

Opener = Callable[..., Database]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opener]:
    """Opens the study as one more process would; `silent` takes everybody else for dead."""
    found = []

    def open_one(silent: bool = False) -> Database:
        database = Database(f"sqlite:///{tmp_path / 'study.db'}", "study", TuningConfig())
        if silent:
            database.grace = -5.0
        found.append(database)
        return database

    yield open_one
    for each in found:
        each.close()


def claimed(database: Database, total: int = TOTAL) -> Claim:
    claim = database.claim(total)
    assert claim is not None
    return claim


def states(database: Database) -> list[str]:
    return [each.state.name for each in database.study.get_trials()]


def test_trials_are_claimed_by_number_and_made_when_they_are_needed(opened: Opener) -> None:
    database = opened()
    assert [claimed(database, 3).number for _ in range(3)] == [0, 1, 2]
    assert database.claim(3) is None
    assert states(database) == ["RUNNING"] * 3
    assert database.unfinished(3) == 3


def test_what_was_claimed_at_once_by_many_is_claimed_once(opened: Opener) -> None:
    databases = [opened() for _ in range(4)]

    def all_of(database: Database) -> list[int]:
        found = []
        while (claim := database.claim(TOTAL)) is not None:
            found.append(claim.number)
        return found

    with ThreadPoolExecutor(len(databases)) as pool:
        numbers = [number for each in pool.map(all_of, databases) for number in each]
    assert sorted(numbers) == list(range(TOTAL))


def test_a_trial_that_was_given_up_waits_and_is_claimed_before_any_other(opened: Opener) -> None:
    first, second = opened(), opened()
    for error in (KeyboardInterrupt, ValueError):
        with pytest.raises(error), first.holding(claimed(first)):
            raise error
        assert states(second)[0] == "WAITING"
    assert [claimed(second).number for _ in range(2)] == [0, 1]


def test_the_trial_of_a_silent_worker_is_taken_up_under_its_number_and_its_clock_begins_anew(opened: Opener) -> None:
    dead, other = opened(), opened(silent=True)
    number = claimed(dead).number
    begun = other.study.trials[number].datetime_start
    assert other.abandoned(TOTAL) == 1
    assert claimed(other).number == number
    assert other.study.trials[number].datetime_start > begun
    assert len(other.study.trials) == 1


def test_a_heartbeat_is_renewed_while_its_trial_is_worked_on(opened: Opener) -> None:
    working, other = opened(), opened()
    working.grace = 0.2
    with working.holding(claimed(working)):
        with other.storage.engine.begin() as connection:
            connection.execute(CLAIMS.update().values(heartbeat=datetime(2020, 1, 1)))
        deadline = time.monotonic() + 600
        while other.abandoned(TOTAL) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert other.abandoned(TOTAL) == 0
        assert claimed(other).number == 1


def test_a_worker_that_wakes_after_another_did_its_trial_changes_nothing(opened: Opener) -> None:
    slow, quick = opened(), opened(silent=True)
    late = claimed(slow)
    quick.finish(claimed(quick), 0.5, {"by": "quick"})
    slow.finish(late, 0.1, {"by": "slow"})
    (trial,) = quick.finished(TOTAL)
    assert (trial.value, trial.user_attrs) == (0.5, {"by": "quick"})


def test_a_trial_that_was_finished_a_moment_ago_is_not_claimed(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    database, other = opened(), opened()
    other.finish(claimed(other), 0.5, {})
    stale = iter([[0], [1]])  # what the look at a database found that changed meanwhile
    database.study.add_trial(create_trial(state=TrialState.WAITING))
    other.void_claims()
    monkeypatch.setattr(database, "_free", lambda total: next(stale))
    assert claimed(database).number == 1


def test_who_works_alone_voids_what_the_dead_had_claimed(opened: Opener) -> None:
    claimed(opened())
    database = opened()
    assert (database.abandoned(TOTAL), claimed(database).number) == (0, 1)
    database.void_claims()
    assert (database.abandoned(TOTAL), claimed(database).number) == (2, 0)


def test_trials_past_the_total_wait_for_a_larger_one(opened: Opener) -> None:
    database = opened()
    database.study.add_trials([create_trial(state=TrialState.WAITING)] * 3)
    assert [claimed(database, 2).number for _ in range(2)] == [0, 1]
    assert database.claim(2) is None
    assert claimed(database, 4).number == 2


def test_of_two_that_add_a_trial_at_once_either_may_do_either(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = opened(), opened()
    add = first.study.add_trial
    monkeypatch.setattr(first.study, "add_trial", lambda trial: (second.study.add_trial(trial), add(trial)))
    claim = claimed(first)
    assert claim.number == 0
    first.trial(claim, RandomSampler()).suggest_float("sam.pred_iou_thresh", 0, 1)
    assert claimed(second).number == 1


def test_tpe_learns_from_the_trials_before_as_it_does_where_optuna_runs_them(opened: Opener) -> None:
    space = Space((Dimension("sam.pred_iou_thresh", False, low=0.2, high=0.8), Dimension(AREA, False, (0.1, 0.5))))
    sampler, by_optuna, database = samplers(Sampler.tpe, space, 5), optuna.create_study(direction="maximize"), opened()
    for number in range(2 * TOTAL):
        by_optuna.sampler = sampler(number)
        asked = by_optuna.ask()
        settings = [each.suggest(asked) for each in space.dimensions]
        by_optuna.tell(asked, settings[0])
        claim = claimed(database, 2 * TOTAL)
        with database.holding(claim):
            trial = database.trial(claim, sampler(number))
            assert [each.suggest(trial) for each in space.dimensions] == settings, number
            database.finish(claim, settings[0], {})


def test_a_study_of_version_0_1_0_goes_on(opened: Opener, tmp_path: Path) -> None:
    """It had all trials wait from the start, and noted claims in Optuna's own tables."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    study = optuna.create_study(storage=storage, study_name="study", direction="maximize")
    study.add_trials([create_trial(state=TrialState.WAITING)] * 4)
    study.tell(study.ask(), 0.5)
    left = study.ask()
    left.suggest_float("sam.pred_iou_thresh", 0, 1)
    storage.record_heartbeat(2)
    storage.remove_session()
    storage.engine.dispose()
    database = opened()
    assert database.abandoned(4) == 1
    claims = [claimed(database, 4) for _ in range(3)]
    assert [each.number for each in claims] == [1, 2, 3]
    again = database.trial(claims[0], RandomSampler())
    assert again.suggest_float("sam.pred_iou_thresh", 0, 1) == left.params["sam.pred_iou_thresh"]
    assert database.claim(4) is None


class Away:
    """A database that refuses so many statements, after so many more, as one that is held by others does."""

    def __init__(self, database: Database, times: int) -> None:
        self.left, self.cut, self.first = times, 0, 0

        def refuse(*_: Any) -> None:
            if self.first:
                self.first -= 1
            elif self.left:
                self.left, self.cut = self.left - 1, self.cut + 1
                error = sqlite3.OperationalError("database is locked")
                raise sqlalchemy.exc.OperationalError("SELECT 1", {}, error)

        sqlalchemy.event.listen(database.storage.engine, "before_cursor_execute", refuse, named=False)


@pytest.mark.fault("I8")
def test_a_trial_is_done_once_though_every_statement_of_it_is_cut_once(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = Space((Dimension("sam.pred_iou_thresh", False, low=0.2, high=0.8), Dimension(AREA, False, (0.1, 0.5))))
    sampler, database = samplers(Sampler.tpe, space, 5), opened()
    monkeypatch.setattr("salip_exp._tuning.database._AGAIN_S", 0.0)
    found = []
    away = Away(database, 0)
    for cut in range(40):
        claim = claimed(database, 40)
        away.left = 1
        with database.holding(claim):
            trial = database.trial(claim, sampler(0))
            found.append([each.suggest(trial) for each in space.dimensions])
            away.left += cut % 3
            database.finish(claim, 0.5, {"by": "me"})
    assert away.cut == 79
    assert [each.value for each in database.finished(40)] == [0.5] * 40
    assert database.study.trials[7].user_attrs == {"by": "me"}
    assert states(database) == ["COMPLETE"] * 40


@pytest.mark.fault("I8")
def test_a_trial_is_claimed_though_any_statement_of_the_claim_is_cut(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("salip_exp._tuning.database._AGAIN_S", 0.0)
    database, cuts = opened(), 0
    away = Away(database, 0)
    for first in range(30):
        away.first, away.left = first, 1
        with database.holding(claimed(database, 100)):
            cuts += not away.left
            away.first = away.left = 0
    assert 8 < cuts < 30, "some statements of a claim, and no more than it has"


@pytest.mark.fault("I8", "I9")
def test_patience_ends_and_says_for_what_it_waits(
    opened: Opener, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    database = opened()
    database.patience.seconds = 0.05
    monkeypatch.setattr("salip_exp._tuning.database._AGAIN_S", 0.0)
    monkeypatch.setattr("salip_exp._tuning.database._SAY_AFTER_S", 0.0)
    away = Away(database, 10**9)
    with pytest.raises(EnvironmentFault, match=r"cannot be used \(database is locked"):
        database.claim(TOTAL)
    said = capsys.readouterr().err
    assert said.count("waiting for the study's database") == 1
    assert "study.db (database is locked), for 0.05 seconds at most" in said
    before = away.cut
    with pytest.raises(EnvironmentFault):
        database.claim(TOTAL)
    assert away.cut == before + 1  # it was waited for once, in vain


@pytest.mark.ci
@pytest.mark.fault("I8")
@pytest.mark.skipif("SALIP_TEST_POSTGRES" not in os.environ, reason=".ci/with_postgres starts a server")
def test_a_server_that_cuts_all_connections_again_and_again_costs_a_study_nothing(
    stubs: ModuleType, tmp_path: Path, blob_sam: Any, random_clip: Any
) -> None:
    url = os.environ["SALIP_TEST_POSTGRES"]
    server, stop = sqlalchemy.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.NullPool), []
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL"

    def cutting() -> None:
        while not stop:
            with server.connect() as connection:
                counts.append(len(connection.execute(sqlalchemy.text(cut)).all()))
            time.sleep(0.2)

    class Cutting(StudyListener):
        def began(self, config: Config, folder: Path) -> None:
            thread.start()

    counts: list[int] = []
    thread = threading.Thread(target=cutting, daemon=True)
    try:
        lab = stubs.StubLab(blob_sam, random_clip, store=MemoryStore(2**28))
        study_in(stubs.config(n_trials=24, storage=url, grace_s=2.0), tmp_path / "cut", lab, [Cutting()])
    finally:
        stop.append(True)
        thread.join()
    study_in(stubs.config(n_trials=24), tmp_path / "whole", lab)
    assert sum(counts) > 10
    assert (tmp_path / "cut" / "trials.csv").read_bytes() == (tmp_path / "whole" / "trials.csv").read_bytes()
