"""One worker of a study: claim a trial, try its setting, note the outcome, until none is left."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.errors import CaseError, EnvironmentFault
from salip_exp.tuning.database import Database, Slot, pulse
from salip_exp.tuning.proposals import Proposal
from salip_exp.tuning.space import Values
from salip_exp.tuning.workbench import Outcome, Workbench, tried

log = logging.getLogger(__name__)
PAUSE = 0.2  # seconds between looks at trials that others work on
OUTCOME, REASON, WORK = "outcome", "reason", "work"
"""What is noted of a trial besides its value: scores of its images, or why it has none, and the networks' work.

The work is all that the worker did since its trial before, so that the sum over trials is that of all processes.
"""

Told = Callable[[int, float | None], None]
"""Hears of a finished trial: its number, and its value or None."""


@dataclass
class Worker:
    """What a worker needs.

    Attributes:
        config: of the study.
        workbench: to try settings on.
        cases: the tuning images.
        database: where the trials are.
        propose: gives a trial its setting.
        total: trials of the study.
    """

    config: Config
    workbench: Workbench
    cases: Sequence[Case]
    database: Database
    propose: Proposal
    total: int

    def run(self, told: Told, stopped: Callable[[], bool] = lambda: False) -> int:
        """Finish trials until the study is complete, or `stopped` says so between two; how many this worker did.

        Raises:
            EnvironmentFault: the database, the cache or the disk stands in the way; the trial at hand waits again.
        """
        done = 0
        while not stopped():
            slot = self.database.claim(self.total)
            if slot is not None:
                self._finish(slot, told)
                done += 1
            elif not self.database.running(self.total):
                break
            elif not self.database.take_back(self.total):
                time.sleep(PAUSE)
        return done

    def _finish(self, slot: Slot, told: Told) -> None:
        try:
            with pulse(self.database, slot):
                with self.database.faults():
                    values = self.propose(self.database, slot.trial_id, slot.number)
                value, attributes = self._try(slot, values)
                self._note(slot, value, attributes | {WORK: self.workbench.take_work().to_dict()})
        except BaseException:
            self.database.release(slot)
            raise
        told(slot.number, value)

    def _try(self, slot: Slot, values: Values) -> tuple[float | None, dict[str, Any]]:
        """The trial's value and what is noted with it; a setting that fails is noted with its reason."""
        try:
            outcome = self.workbench.outcome(tried(self.config, values), self.cases)
        except EnvironmentFault:
            raise
        except CaseError as error:
            return None, {REASON: f"{error.code}: {error}"}
        except Exception as error:
            log.exception("trial %d", slot.number)
            return None, {REASON: f"{type(error).__name__}: {error}"}
        value = outcome.mean(self.config.tuning.objective)
        if math.isnan(value):
            return None, {REASON: f"no image has a score ({self.config.tuning.objective})", OUTCOME: _plain(outcome)}
        return value, {OUTCOME: _plain(outcome)}

    def _note(self, slot: Slot, value: float | None, attributes: dict[str, Any]) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        storage = self.database.storage
        try:
            with self.database.faults():
                for name, content in attributes.items():
                    storage.set_trial_user_attr(slot.trial_id, name, content)
                state = TrialState.FAIL if value is None else TrialState.COMPLETE
                storage.set_trial_state_values(slot.trial_id, state, None if value is None else [value])
        except UpdateFinishedTrialError:
            # This process was silent for longer than the grace period, and another did the trial meanwhile.
            log.warning("trial %d was finished by another worker", slot.number)


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {"images": outcome.images, "statuses": outcome.statuses}
