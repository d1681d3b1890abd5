"""A training as events: its epochs one by one, then the weights."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pyarrow import csv

from salip_exp._files import from_json, read_small
from salip_exp._runs._manifest import commit, machine, versions
from salip_exp._settings.folders import File
from salip_exp._tracking.events import Artefact, Event, Log, Summary
from salip_exp._tracking.tracker import Tracker, started
from salip_exp._training.training import TrainingListener
from salip_exp.config import Config

_SHOWN = ("epochs", "best_epoch", "val_dice", "seconds")


class TrainingTracker(TrainingListener):
    """Tells a tracker of a training."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def began(self, config: Config, folder: Path, command: Sequence[str]) -> None:
        """The training itself, and the epochs that it has done by now."""
        self.tracker.tell(_training_started(config, folder, command))

    def epoch(self, row: Mapping[str, float]) -> None:
        """One more epoch."""
        self.tracker.tell([epoch(row)])

    def finished(self, folder: Path) -> None:
        """What it came to."""
        self.tracker.tell(training_results(folder))

    def ended(self, code: int) -> None:
        """It is over."""
        self.tracker.end(code)


def _training_started(config: Config, folder: Path, command: Sequence[str]) -> Iterator[Event]:
    """The start of a training, and the epochs that it has done by now."""
    facts = {"command": shlex.join(command), "packages": versions(), "commit": commit(), "machine": machine()}
    yield started(config, folder, "train", facts)
    if (folder / File.curves).exists():
        yield from map(epoch, csv.read_csv(folder / File.curves).to_pylist())


def epoch(row: Mapping[str, float]) -> Log:
    """An epoch's row of the curves."""
    named = {f"epoch/{name}": value for name, value in row.items() if name != "epoch" and value is not None}
    return Log({"epoch/number": row["epoch"], **named})


def training_results(folder: Path) -> Iterator[Event]:
    """What a complete training came to, from its folder, with the weights."""
    report = from_json(read_small(folder / File.training))
    yield Summary({f"unet/{name}": report[name] for name in _SHOWN})
    yield Artefact("unet", [folder / File.weights, folder / File.training, folder / File.curves])
