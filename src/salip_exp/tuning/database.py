"""The study's database: Optuna's own tables, and the claims on its trials that many processes share.

A study is made of slots: trials that wait, numbered from 0. A process claims a slot by one conditional UPDATE, which
also notes its heartbeat, so a running trial always has one; while it works it renews the heartbeat; and a trial whose
heartbeat stopped goes back to waiting, under its own number. So no trial is lost or done twice, and numbers have no
gap, whatever dies when.

Optuna's `ask` is not used for this: on SQLite two processes can claim one trial, a process that dies between `ask` and
its first heartbeat leaves a trial that runs for ever, and a trial that is retried gets another number.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from salip_exp.config import TuningConfig
from salip_exp.errors import ConfigError, EnvironmentFault

CLAIM = "UPDATE trials SET state = 'RUNNING', datetime_start = :now WHERE trial_id = :id AND state = 'WAITING'"
RELEASE = "UPDATE trials SET state = 'WAITING' WHERE trial_id = :id AND state = 'RUNNING'"
FORGET = "DELETE FROM trial_heartbeats WHERE trial_id = :id"
BEAT = "INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES (:id, CURRENT_TIMESTAMP)"
RENEW = "UPDATE trial_heartbeats SET heartbeat = CURRENT_TIMESTAMP WHERE trial_id = :id"
IF_SILENT = "UPDATE trial_heartbeats SET heartbeat = heartbeat WHERE trial_id = :id AND heartbeat < :then"
SLOTS = "SELECT trial_id, number FROM trials WHERE study_id = :study AND state = :state AND number < :total"
DAMAGED = ("not a database", "malformed")
"""What SQLite says of files that it did not write so."""
LOOKS = 6  # at a database that is being made by another process
AHEAD = 16  # slots looked at in one query: others may take the first of them


@dataclass(frozen=True)
class Slot:
    """A trial that this process has claimed."""

    trial_id: int
    number: int


class Database:
    """One study in one database.

    Args:
        url: as SQLAlchemy reads it.
        name: of the study; made if absent.
        config: how long to wait for others, and when a silent worker is dead.

    Raises:
        ConfigError: the URL cannot be read, or needs a package that is not installed.
        EnvironmentFault: the database cannot be opened, is no Optuna database, or stays locked.
    """

    def __init__(self, url: str, name: str, config: TuningConfig) -> None:
        self.url, self.name, self.grace, self.wait = url, name, config.grace_s, config.lock_wait_s
        import optuna
        from sqlalchemy import text

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._text = text
        with self.faults():
            self.storage, self.study = _opened(url, name, config.lock_wait_s)
        self.study_id = self.study._study_id
        self.engine = self.storage.engine

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn what databases raise into one sentence that names the database."""
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except (SQLAlchemyError, StorageInternalError) as error:
            cause = error if isinstance(error, DBAPIError) else error.__cause__ or error
            said = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
            raise EnvironmentFault(
                f"the study's database {shown(self.url)} cannot be used ({said}): {self._what_to_do(said)}"
            ) from error

    def _what_to_do(self, said: str) -> str:
        if any(word in said for word in DAMAGED):
            return "it is damaged and was left as it is; put a copy back, or move it away and the study begins anew"
        held = f"others hold it for more than tuning.lock_wait_s={self.wait:g} seconds: " if "locked" in said else ""
        return f"{held}see who uses it, make room or get access; the same command continues the study"

    def make_slots(self, total: int) -> None:
        """Trials up to a total, waiting. Two processes at once may make more; those past the total are never run."""
        from optuna.trial import TrialState, create_trial

        with self.faults():
            missing = total - self.storage.get_n_trials(self.study_id)
            for _ in range(missing):
                self.storage.create_new_trial(self.study_id, create_trial(state=TrialState.WAITING))

    def claim(self, total: int) -> Slot | None:
        """A waiting trial below the total, from now on this process's; None where none waits."""
        with self.faults():
            for trial_id, number in self._slots("WAITING", total, AHEAD):
                with self.engine.begin() as connection:
                    if self._run(connection, CLAIM, id=trial_id, now=datetime.now()).rowcount:
                        self._run(connection, FORGET, id=trial_id)
                        self._run(connection, BEAT, id=trial_id)
                        return Slot(trial_id, number)
        return None

    def running(self, total: int) -> int:
        """How many trials below the total are at work, here or elsewhere."""
        with self.faults():
            return len(self._slots("RUNNING", total))

    def waiting(self, total: int) -> int:
        """How many trials below the total wait."""
        with self.faults():
            return len(self._slots("WAITING", total))

    def renew(self, slot: Slot) -> None:
        """Tell the others that the trial is being worked on."""
        with self.engine.begin() as connection:
            self._run(connection, RENEW, id=slot.trial_id)

    def release(self, slot: Slot) -> None:
        """Let a claimed trial wait again."""
        with self.faults(), self.engine.begin() as connection:
            self._run(connection, RELEASE, id=slot.trial_id)
            self._run(connection, FORGET, id=slot.trial_id)

    def take_back(self, total: int, alone: bool = False) -> int:
        """Let trials of dead workers wait again; how many there were.

        Args:
            total: of the study.
            alone: nobody else can be at work on this database, so every running trial is a dead worker's.
        """
        taken = 0
        with self.faults():
            for trial_id, _ in self._slots("RUNNING", total):
                with self.engine.begin() as connection:
                    # The heartbeat's row is written first, so that of two who look at once the second sees it gone.
                    then = self._now(connection) - timedelta(seconds=self.grace)
                    silent = alone or self._run(connection, IF_SILENT, id=trial_id, then=then).rowcount
                    if silent and self._run(connection, RELEASE, id=trial_id).rowcount:
                        self._run(connection, FORGET, id=trial_id)
                        taken += 1
        return taken

    def _slots(self, state: str, total: int, limit: int | None = None) -> list[tuple[int, int]]:
        query = SLOTS.replace(":state", f"'{state}'") + " ORDER BY number" + (f" LIMIT {limit}" if limit else "")
        with self.engine.connect() as connection:
            rows = self._run(connection, query, study=self.study_id, total=total)
            return [(int(trial_id), int(number)) for trial_id, number in rows]

    def _run(self, connection: Any, statement: str, **values: Any) -> Any:
        from sqlalchemy import DateTime, bindparam

        times = [bindparam(name, type_=DateTime) for name, value in values.items() if isinstance(value, datetime)]
        return connection.execute(self._text(statement).bindparams(*times), values)

    def _now(self, connection: Any) -> datetime:
        """The database's own time, as its heartbeats are written."""
        from sqlalchemy import DateTime, func, select, type_coerce

        now: datetime = connection.execute(select(type_coerce(func.current_timestamp(), DateTime))).scalar_one()
        return now.replace(tzinfo=None)

    def close(self) -> None:
        """Give the connections back."""
        self.storage.remove_session()
        self.engine.dispose()


@contextmanager
def pulse(database: Database, slot: Slot) -> Iterator[None]:
    """Renew the heartbeat of a trial while the `with` block works on it."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(database.grace / 4):
            with suppress(Exception):  # a database that is away for a moment ends no trial
                database.renew(slot)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def shown(url: str) -> str:
    """A database's URL without its password; of SQLite the file."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except ArgumentError:
        return url
    return str(found.database) if found.get_backend_name() == "sqlite" else found.render_as_string(hide_password=True)


def _opened(url: str, name: str, wait: float) -> tuple[Any, Any]:
    """Storage and study, both made where they are not there.

    Of processes that come to a new database at once, all but one find tables half made, and look again.
    """
    import optuna
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    begun = time.monotonic()
    for attempt in range(LOOKS):
        try:
            storage = _open(url, wait)
            return storage, optuna.create_study(
                storage=storage, study_name=name, direction="maximize", load_if_exists=True
            )
        except (SQLAlchemyError, StorageInternalError):
            if attempt == LOOKS - 1 or time.monotonic() - begun > wait:
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError("the last look returns or raises")


def _open(url: str, wait: float) -> Any:
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    sqlite = url.startswith("sqlite")
    arguments = {"connect_args": {"timeout": wait}} if sqlite else {"pool_pre_ping": True}
    try:
        storage = RDBStorage(url, engine_kwargs=arguments)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            f"tuning.storage={shown(url)} cannot be used ({error}): give the URL of an SQL database, e.g. "
            "sqlite:////tmp/study.db or postgresql+psycopg2://user:password@host/database, and install its driver"
        ) from error
    except RuntimeError as error:
        raise EnvironmentFault(f"{shown(url)} holds tables of another version of Optuna: {error}") from error
    if sqlite:
        _let_many_write(storage.engine)
    return storage


def _let_many_write(engine: Any) -> None:
    """SQLite with a write-ahead log: readers do not stop writers, and a trial costs no wait for the disk.

    A process that dies loses nothing; a power cut may take the last trials, which are then done again.
    """
    from sqlalchemy import event

    def prepare(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    event.listen(engine, "connect", prepare)
    engine.dispose()
