"""The study's database, and the claims on its trials that many processes share.

Optuna alone reads and writes its tables. Who works on which trial stands beside them, in a table of our own: a claim is
one row, which the database gives to one process only; while that process works it renews the row's heartbeat, and a
claim without one may be replaced. So no trial is lost or done twice, and numbers have no gap, whatever dies when.

Optuna has claims and heartbeats too, and they promise less. On SQLite `ask` can give one trial to two processes; a
process that dies between `ask` and its first heartbeat leaves a trial that runs for ever; heartbeats are kept inside
`Study.optimize` only, whose trial fails where ours waits for a better day; and a dead process's trial is failed and
retried under another number, which would give it another setting.
"""

from __future__ import annotations

import functools
import itertools
import logging
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import optuna
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

from salip_exp._secrets import MARK, revealed, scrubbed
from salip_exp.config import TuningConfig
from salip_exp.errors import ConfigError, EnvironmentFault

log = logging.getLogger(__name__)

CLAIMS = sa.Table(
    "salip_claims",
    sa.MetaData(),
    sa.Column("study", sa.String(512), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("heartbeat", sa.DateTime, nullable=False),
)
"""A row: somebody works on this trial, and was last heard of then. Who it is does not matter."""
_NOW = sa.func.current_timestamp()
_DAMAGED = ("not a database", "malformed")
"""What SQLite says of files that it did not write so."""
_LOOKS = 6  # at a database that is being made by another process
_SAY_AFTER_S, _AGAIN_S = 3.0, 0.25
T = TypeVar("T")


@dataclass(frozen=True)
class Claim:
    """A trial that this process has claimed: its number in the study, and Optuna's id of it."""

    number: int
    trial_id: int


class Patience:
    """Does work on a database again while the database is away or held by others, and says so after some seconds.

    Every work that is handed in is one transaction, and may be done twice where a connection is cut between the commit
    and its answer: what it changes is the same then.

    Args:
        name: of the database, for people.
        seconds: to wait at most; once they were in vain, nothing is waited for any more.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self.name, self.seconds = name, seconds

    def __call__(self, work: Callable[[], T]) -> T:
        """What the work returns; raises what it raised last."""
        begun, said = time.monotonic(), False
        while True:
            try:
                return work()
            except (SQLAlchemyError, StorageInternalError) as error:
                waited = time.monotonic() - begun
                if not _passes(error) or waited >= self.seconds:
                    self.seconds = 0.0 if _passes(error) else self.seconds
                    raise
                if not said and waited > _SAY_AFTER_S:
                    said = True
                    sys.stderr.write(
                        f"waiting for the study's database {self.name} ({_message(error)}), for {self.seconds:g} "
                        "seconds at most (tuning.lock_wait_s)\n"
                    )
            time.sleep(min(_AGAIN_S, self.seconds))


def _passes(error: Exception) -> bool:
    """Whether it is worth to try again: SQLite is held by others, or a server is away."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    if _was_cut(error):
        return True
    if not isinstance(cause, OperationalError | InterfaceError):
        return False
    return not type(cause.orig).__module__.startswith("sqlite3") or "locked" in str(cause.orig)


def _was_cut(error: Exception) -> bool:
    """Whether there was a connection, and it is gone; what is asked of its transaction after that is refused."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, PendingRollbackError) or (isinstance(cause, DBAPIError) and cause.connection_invalidated)


def _message(error: Exception) -> str:
    cause = error if isinstance(error, DBAPIError) else error.__cause__ or error
    return str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]


class _PatientStorage(RDBStorage):
    """Optuna's storage, whose operations, a transaction each, are done with patience."""

    patience: Patience


def _with_patience(name: str) -> Callable[..., Any]:
    operation = getattr(RDBStorage, name)

    @functools.wraps(operation)
    def patient(self: _PatientStorage, *what: Any, **more: Any) -> Any:
        return self.patience(lambda: operation(self, *what, **more))

    return patient


_ASKED = [name for name, each in vars(BaseStorage).items() if callable(each) and not name.startswith("_")]
# Also what Optuna's memory in front of a storage calls of it; to leave a session asks the server nothing.
for _name in (*_ASKED, "_create_new_trial", "_set_trial_param", "_get_trials"):
    if _name != "remove_session":
        setattr(_PatientStorage, _name, _with_patience(_name))


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
        self.patience = Patience(shown(url), config.lock_wait_s)
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        with self.faults():
            self.storage, self.study = _opened(url, name, config.lock_wait_s, self.patience)
            self._study_id = self.storage.get_study_id_from_name(name)

    def faults(self) -> AbstractContextManager[None]:
        """Turn what databases raise into one sentence that names the database."""
        return _faults(self.url, self.wait)

    def claim(self, total: int) -> Claim | None:
        """A trial below the total, from now on this process's; None where nothing is left to claim."""
        with self.faults():
            while free := self._free(total):
                for number in free:
                    if (claim := self._take(number)) is not None:
                        return claim
        return None

    def trial(self, claim: Claim, sampler: BaseSampler) -> Trial:
        """The claimed trial, which gets its setting from the sampler."""
        self.study.sampler = sampler
        self.study.get_trials(deepcopy=False)  # Optuna gives no setting to a trial of others that it has not read
        return Trial(self.study, claim.trial_id)  # `ask` gives whichever trial waits, and cannot be told which

    def finish(self, claim: Claim, value: float | None, attributes: Mapping[str, Any]) -> None:
        """Note what came of the claimed trial: its value, or None where it failed, and attributes beside it."""
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        with self.faults():
            try:
                for name, content in attributes.items():
                    self.storage.set_trial_user_attr(claim.trial_id, name, content)
                # Not behind Optuna's back: a sampler learns of a process's own trials by `tell` alone.
                self.study.tell(claim.number, value, state, skip_if_finished=True)
            except UpdateFinishedTrialError:
                # This process was silent for longer than the grace period, and another did the trial meanwhile.
                log.warning("trial %d was finished by another worker", claim.number)

    @contextmanager
    def holding(self, claim: Claim) -> Iterator[None]:
        """Keep the claim while the `with` block works on its trial, then give it up; after an error the trial waits."""
        done = threading.Event()

        def beat() -> None:
            while not done.wait(self.grace / 4):
                with suppress(Exception), self.storage.engine.begin() as connection:  # away for a moment ends no trial
                    connection.execute(CLAIMS.update().where(self._row(claim.number)).values(heartbeat=_NOW))

        thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        except BaseException:
            with self.faults(), suppress(UpdateFinishedTrialError):
                self.storage.set_trial_state_values(claim.trial_id, TrialState.WAITING)
            raise
        finally:
            done.set()
            thread.join()
            with self.faults():
                self._give_up(claim.number)

    def abandoned(self, total: int) -> int:
        """How many trials below the total dead workers have left behind."""
        with self.faults():
            held, running = self._held(), self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return sum(each.number < total and each.number not in held for each in running)

    def unfinished(self, total: int) -> int:
        """How many trials a study of the total still lacks; those at work count."""
        return total - len(self.finished(total))

    def finished(self, total: int) -> list[FrozenTrial]:
        """The finished trials below the total, by number."""
        with self.faults():
            found = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL))
        return [each for each in found if each.number < total]

    def void_claims(self) -> None:
        """Give up every claim on the study, for a process that knows that no other works on it."""
        with self.faults():
            self._write(CLAIMS.delete().where(CLAIMS.c.study == self.name))

    def close(self) -> None:
        """Give the connections back."""
        self.storage.remove_session()
        self.storage.engine.dispose()

    def _free(self, total: int) -> list[int]:
        """Numbers of the trials that nobody who lives works on: those left behind or, if there are none, one more."""
        held, trials = self._held(), self.study.get_trials(deepcopy=False)
        free = [n for each in trials if not each.state.is_finished() and (n := each.number) < total and n not in held]
        if free or len(trials) >= total:
            return free
        # Two processes at once may add one too many; those past the total are never run.
        self.study.add_trial(create_trial(state=TrialState.WAITING))
        return [len(trials)]

    def _held(self) -> set[int]:
        """Numbers of the trials that living workers work on."""

        def look() -> set[int]:
            with self.storage.engine.connect() as connection:
                alive = sa.and_(CLAIMS.c.study == self.name, CLAIMS.c.heartbeat >= self._silence(connection))
                return set(connection.scalars(sa.select(CLAIMS.c.number).where(alive)))

        return self.patience(look)

    def _take(self, number: int) -> Claim | None:
        """The claim on a trial, unless somebody who lives was faster."""

        def insert() -> None:
            with self.storage.engine.begin() as connection:
                silent = CLAIMS.c.heartbeat < self._silence(connection)
                connection.execute(CLAIMS.delete().where(self._row(number), silent))
                connection.execute(CLAIMS.insert().values(study=self.name, number=number, heartbeat=_NOW))

        try:
            self.patience(insert)
        except IntegrityError:  # or ours, of which a cut connection did not tell: silent, it is taken up again
            return None
        trial_id = self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)
        try:
            if not self.storage.set_trial_state_values(trial_id, TrialState.RUNNING):  # left behind: it begins anew
                self.storage.set_trial_state_values(trial_id, TrialState.WAITING)
                self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:  # by the one who held it until now
            self._give_up(number)
            return None
        return Claim(number, trial_id)

    def _give_up(self, number: int) -> None:
        self._write(CLAIMS.delete().where(self._row(number)))

    def _write(self, statement: sa.Executable) -> None:
        def write() -> None:
            with self.storage.engine.begin() as connection:
                connection.execute(statement)

        self.patience(write)

    def _row(self, number: int) -> sa.ColumnElement[bool]:
        return sa.and_(CLAIMS.c.study == self.name, CLAIMS.c.number == number)

    def _silence(self, connection: sa.Connection) -> datetime:
        """Whoever was last heard of before this is dead; by the clock of the database, which writes the heartbeats."""
        now: datetime = connection.scalars(sa.select(sa.type_coerce(_NOW, sa.DateTime))).one()
        return now.replace(tzinfo=None) - timedelta(seconds=self.grace)


@contextmanager
def _faults(url: str, wait: float) -> Iterator[None]:
    """What databases raise becomes one sentence that names the database."""
    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        message = scrubbed(_message(error))
        raise EnvironmentFault(
            f"the study's database {shown(url)} cannot be used ({message}): {_what_to_do(message, wait)}"
        ) from error


def _what_to_do(message: str, wait: float) -> str:
    if any(word in message for word in _DAMAGED):
        return "it is damaged and was left as it is; put a copy back, or move it away and the study begins anew"
    held = f"others hold it for more than tuning.lock_wait_s={wait:g} seconds: " if "locked" in message else ""
    return f"{held}see who uses it, make room or get access; the same command continues the study"


def studies_in(url: str, wait: float) -> list[str]:
    """Names of the studies in a database, which need not hold any table yet.

    Args:
        wait: seconds to wait at most for an SQLite file that others hold; a server that is not there is said at once.

    Raises:
        ConfigError: the URL cannot be read, or needs a package that is not installed.
        EnvironmentFault: the database cannot be opened or read.
    """
    patience = Patience(shown(url), wait if _is_sqlite(url) else 0.0)
    with _faults(url, wait), _refusing(url):
        engine = sa.create_engine(_whole(url), **_arguments(url, patience))
        try:
            return patience(lambda: _names(engine))
        finally:
            engine.dispose()


def _names(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        if not sa.inspect(connection).has_table("studies"):
            return []
        return list(connection.scalars(sa.select(sa.column("study_name")).select_from(sa.table("studies"))))


def shown(url: str) -> str:
    """A database's URL without its password; of SQLite the file."""
    try:
        found = sa.make_url(url)
    except ArgumentError:
        return url
    return str(found.database) if found.get_backend_name() == "sqlite" else found.render_as_string(hide_password=True)


def _opened(url: str, name: str, wait: float, patience: Patience) -> tuple[RDBStorage, optuna.Study]:
    """Storage and study, both made where they are not there.

    Of processes that come to a new database at once, all but one find tables half made, and look again.
    """

    def look() -> tuple[RDBStorage, optuna.Study]:
        storage = _open(url, patience)
        CLAIMS.create(storage.engine, checkfirst=True)
        return storage, optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)

    begun = time.monotonic()
    for attempt in itertools.count(1):
        try:  # a server that is not there at all may be misspelt: that is said at once
            return patience(look) if _is_sqlite(url) else look()
        except (SQLAlchemyError, StorageInternalError) as error:
            if (attempt >= _LOOKS and not _was_cut(error)) or time.monotonic() - begun > wait:
                raise
            time.sleep(random.uniform(0.1, 0.5))
    raise AssertionError("the last look returns or raises")


def _open(url: str, patience: Patience) -> RDBStorage:
    try:
        with _refusing(url):
            storage = _PatientStorage(_whole(url), engine_kwargs=_arguments(url, patience))
        storage.patience = patience
    except RuntimeError as error:
        raise EnvironmentFault(f"{shown(url)} holds tables of another version of Optuna: {error}") from error
    if _is_sqlite(url):
        _let_many_write(storage.engine)
    return storage


def _arguments(url: str, patience: Patience) -> dict[str, Any]:
    """Of an engine; SQLite itself waits for some seconds, then it is asked again."""
    once = min(_SAY_AFTER_S, patience.seconds)
    return {"connect_args": {"timeout": once}} if _is_sqlite(url) else {"pool_pre_ping": True}


def _is_sqlite(url: str) -> bool:
    return url.startswith("sqlite")


@contextmanager
def _refusing(url: str) -> Iterator[None]:
    """A URL that cannot be read, or whose driver is missing, is a wrong configuration."""
    try:
        yield
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            f"tuning.storage={shown(url)} cannot be used ({scrubbed(str(error))}): give the URL of an SQL database, "
            "e.g. sqlite:////tmp/study.db or postgresql+psycopg2://user:password@host/database, and install its driver"
        ) from error


def _whole(url: str) -> str:
    """The URL with its password, which only this place is told."""
    found = revealed(url)
    if f":{MARK}@" in found or f"={MARK}" in found:
        raise ConfigError(
            f"tuning.storage={url} has {MARK} where a password belongs, as commands are printed: write the password "
            "there, or leave it to ~/.pgpass or PGPASSWORD"
        )
    return found


def _let_many_write(engine: sa.Engine) -> None:
    """SQLite with a write-ahead log: readers do not stop writers, and a trial costs no wait for the disk.

    A process that dies loses nothing; a power cut may take the last trials, which are then done again.
    """

    def prepare(connection: Any, record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.close()

    sa.event.listen(engine, "connect", prepare)
    engine.dispose()
