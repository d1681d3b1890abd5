"""Results: one row per figure, in a CSV that says where each comes from, and on the terminal."""

from __future__ import annotations

import csv
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import torch

from salip_exp._runs._manifest import commit, machine

KEY = ("benchmark", "weights", "side", "setting", "who", "unit", "threads", "allocator")
"""Columns that name a figure: a new row takes the place of an older one that has them all the same."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        benchmark: module that measured it.
        weights: `tiny` (embedded), `vit_b` (random), `vit_b+vit_l_14` (both random).
        side: of the image, in pixels (of the longer side).
        setting: what was asked of both contestants.
        who: reference, or salip_exp.
        value: seconds are the median of the repeats, wall clock.
        unit: s, ms, MiB, count, or what the setting says.
        minimum: of the repeats, wall clock.
        cpu: median processor time of all threads, which tells on a machine that has other work too; unit as `value`.
        ratio: what `ratio_of` says.
        ratio_of: `reference / salip_exp`, or the like.
        n: repeats, or timed cases.
        work: of the networks, where it is counted.
        extrapolated: empty, or how the figure follows from timed ones.
        threads: of torch and OpenCV.
        allocator: default, or kept (`salip_exp._runs._process.keep_freed_memory`); the same for both contestants.
        torch: its version.
        processor: its name.
        date: of the measurement.
        commit: of the checkout; with a plus where files differ from it.
    """

    benchmark: str
    weights: str
    side: int
    setting: str
    who: str
    value: float
    unit: str
    minimum: float | None = None
    cpu: float | None = None
    ratio: float | None = None
    ratio_of: str = ""
    n: int = 1
    work: str = ""
    extrapolated: str = ""
    threads: int = 1
    allocator: str = "default"
    torch: str = version("torch")
    processor: str = machine()["cpu"]
    date: str = ""
    commit: str = ""


def device_name(device: torch.device) -> str:
    """The processor that computes: the GPU's name, or the CPU's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(machine()["cpu"])


def stamped(row: Row) -> Row:
    """The row with the time and the commit of now."""
    head = commit()
    checkout = f"{head['id'][:10]}{'+' if head['changed'] else ''}" if head else ""
    return replace(row, date=datetime.now().astimezone().isoformat(timespec="seconds"), commit=checkout)


class Results:
    """The CSV of one set of weights, on disk anew with every row, so that a run which ends early loses nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                self.rows = list(csv.DictReader(stream))

    def add(self, row: Row) -> None:
        """Keep a row, in place of the older one with its key, and print it."""
        texts = {name: _text(value) for name, value in asdict(stamped(row)).items()}
        self.rows = [each for each in self.rows if any(each.get(name) != texts[name] for name in KEY)] + [texts]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, [each.name for each in fields(Row)], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.rows)
        print(line(row), flush=True)


def line(row: Row) -> str:
    """A row as the terminal shows it."""
    figure = f"{_number(row.value):>9} {row.unit:<6}"
    more = [f"min {_number(row.minimum)}"] if row.minimum is not None else []
    more += [f"cpu {_number(row.cpu)}"] if row.cpu is not None else []
    more += [f"{row.ratio:.3g} = {row.ratio_of}"] if row.ratio is not None else []
    more += [f"n={row.n}"]
    more += [row.work] if row.work else []
    more += [f"extrapolated: {row.extrapolated}"] if row.extrapolated else []
    place = f"{row.benchmark:<10} {row.allocator:<7} {row.setting:<58} {row.who:<9}"
    return f"{place} {figure} {', '.join(more)}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 or float(value).is_integer() else f"{value:.3g}"


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
