"""A training as events: its epochs one by one, then the weights."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pyarrow import csv

from salip_exp.commands.train import train
from salip_exp.config import Config
from salip_exp.runs.manifest import commit, machine, versions
from salip_exp.tracking.events import Artefact, Event, Log, Summary
from salip_exp.tracking.tracker import Tracker, started, tracking
from salip_exp.training.training import CSV, REPORT, WEIGHTS

SHOWN = ("epochs", "best_epoch", "val_dice", "seconds")


def tracked_training(config: Config, folder: Path, command: Sequence[str]) -> int:
    """As `train`, with the configured tracker listening.

    Returns, raises:
        As `train`.
    """
    with tracking(config, folder) as tracker:
        log = EpochLog(tracker, config, folder, command)
        code = train(config, folder, command, log)
        if code:
            tracker.end(code)
        else:
            log.begin()
            tracker.tell(training_results(folder))
    return code


class EpochLog:
    """Tells of every epoch; the first brings the start of the run with it, since until then it may be refused."""

    def __init__(self, tracker: Tracker, config: Config, folder: Path, command: Sequence[str]) -> None:
        self.tracker, self.begun = tracker, False
        self._start = training_started(config, folder, command)

    def begin(self) -> None:
        """Tell of the start and of all epochs on disk, once."""
        if not self.begun:
            self.tracker.tell(self._start)
        self.begun = True

    def __call__(self, row: Mapping[str, float]) -> None:
        """Take one more epoch, which is on disk."""
        if self.begun:
            self.tracker.tell([epoch(row)])
        else:
            self.begin()


def training_started(config: Config, folder: Path, command: Sequence[str]) -> Iterator[Event]:
    """The start of a training, and the epochs that it has done by now."""
    facts = {"command": shlex.join(command), "packages": versions(), "commit": commit(), "machine": machine()}
    yield started(config, folder, "train", facts)
    if (folder / CSV).exists():
        yield from map(epoch, csv.read_csv(folder / CSV).to_pylist())


def epoch(row: Mapping[str, float]) -> Log:
    """An epoch's row of the curves."""
    named = {f"epoch/{name}": value for name, value in row.items() if name != "epoch" and value is not None}
    return Log({"epoch/number": row["epoch"], **named})


def training_results(folder: Path) -> Iterator[Event]:
    """What a complete training came to, from its folder, with the weights."""
    report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    yield Summary({f"unet/{name}": report[name] for name in SHOWN})
    yield Artefact("unet", [folder / WEIGHTS, folder / REPORT, folder / CSV])
