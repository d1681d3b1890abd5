"""Write docs/faults.md: the fault matrix, and what a user sees of ten faults, from real commands.

python tools/docs/faults.py
"""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
sys.path.insert(0, str(ROOT / "tests" / "faults"))

from conftest import good, oval, save  # noqa: E402
from rows import ROWS  # noqa: E402

from salip_exp.networks.registry import EMBEDDED  # noqa: E402

QUICK = "sam=tiny clip=tiny progress=false device=cpu figures=none"
FOLDER = f"dataset=folder dataset.root=data 'vdt.sentences=[\"a bright oval\"]' {QUICK}"
HEAD = """# What is broken on purpose

`make faults` runs the tests of the matrix below and prints a line for each row, with its tests and how they ended;
`make faults ARGS=--full` runs the slow ones too. `make fuzz` gives 20,000 damaged files to every reader, `make soak`
kills runs, studies, trainings and experiments at random moments and compares their results with undisturbed ones;
`make inject` kills a run, a study and a training, or lets a call of theirs fail, at every single write, rename, fsync
and open. `make inject ARGS="run --log FILE"` does one of them and goes on after a break.
`python -m salip_exp task=check ...` finds most of it before a run. Every fault ends in one line on stderr (what,
where, what to do) and an exit code: 2 configuration, 3 data, 4 weights, 5 too many failed cases, 6 environment, 130 and
143 stopped; the traceback is in the run folder's `run.log`.

This page is written by `python tools/docs/faults.py`.
"""
NOTES = """
Notes:

- S2: Optuna's journal files are not used. A study is an SQL database (SQLite in its folder by default), whose own
  journal undoes a half-written transaction when it is opened next. A database that is torn or damaged beyond that is
  named, with exit code 6, and left as it is.
- R3: no record is appended to a shared file. A case is a file of its own, whole or absent; an entry of the cache
  carries its SHA-256.
- X6: on a GPU points, crops, masks and views are halved when memory runs short; on a CPU the same code does it.
"""


@dataclass(frozen=True)
class Fault:
    """A fault and the command that meets it.

    Attributes:
        row: of the matrix.
        said: what was done, for the reader.
        make: does it, in the folder of the command.
        command: after `python -m salip_exp`.
        limit: bytes that no file may grow past, in place of a full disk.
    """

    row: str
    said: str
    make: Callable[[Path], object]
    command: str
    limit: int | None = None


def cut_picture(place: Path) -> None:
    good(place / "data")
    path = place / "data" / "images" / "good_1.png"
    path.write_bytes(path.read_bytes()[:700])


def broken(place: Path) -> None:
    cut_picture(place)
    (place / "data" / "masks" / "good_2_mask.png").unlink()
    (place / "data" / "images" / "link.png").symlink_to("/etc/hostname")


def doubled(place: Path) -> None:
    good(place / "data")
    save(place / "data" / "images" / "good_1.jpg", oval(1)[0])


def flipped(place: Path) -> None:
    content = bytearray((EMBEDDED / "sam_tiny.safetensors").read_bytes())
    content[1_000_000] ^= 1
    (place / "sam.safetensors").write_bytes(content)


def torn(place: Path) -> None:
    (place / "study").mkdir()
    (place / "study" / "study.db").write_bytes(b"SQLite format 3\x00" + bytes(84) + b"\xff" * 4000)


def code(place: Path) -> None:
    (place / "mine" / "study").mkdir(parents=True)
    (place / "mine" / "study" / "shared.yaml").write_text(
        "# @package _global_\nhydra: {callbacks: {x: {_target_: os.system, command: rm -r data}}}\n"
    )


def nothing(place: Path) -> None:
    good(place / "data")


TEN = (
    Fault("D2", "A picture is cut short", cut_picture, FOLDER),
    Fault("D16", "Two files have one name", doubled, FOLDER),
    Fault("D17", "The folder is of another layout", nothing, f"dataset=hc18 dataset.root=data/masks/none {QUICK}"),
    Fault("W2", "One bit of the weights is flipped", flipped, f"{QUICK} sam.weights=sam.safetensors"),
    Fault("W7", "Weights are absent, and nothing may be fetched", nothing, f"{QUICK} sam=vit_h download=false"),
    Fault("C1", "A key is misspelt", nothing, "sam.point_per_side=16"),
    Fault("C3", "Settings contradict each other", nothing, "task=tune +ablation=no_filter"),
    Fault("C5", "A YAML file names code", code, "--config-dir mine +study=shared"),
    Fault("X3", "The disk is full", nothing, f"{FOLDER} hydra.run.dir=run", 8000),
    Fault("S2", "A study's database is damaged", torn, f"task=tune dataset=phantom_hc18 hydra.run.dir=study {QUICK}"),
    Fault("D1 to D17, W7", "All at once, before the run", broken, f"task=check {FOLDER} clip=vit_l_14"),
)


def seen(fault: Fault) -> str:
    """What a terminal shows of a fault, and the exit code."""

    def small() -> None:
        if fault.limit is not None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.limit, fault.limit))

    with tempfile.TemporaryDirectory() as home:
        place = Path(home)
        fault.make(place)
        ended = subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "salip_exp", *shlex.split(fault.command)],
            cwd=place, capture_output=True, text=True, check=False, preexec_fn=small,
            env={**os.environ, "SALIP_CACHE": "cache", "OMP_NUM_THREADS": "1", "COLUMNS": "118"},
        )  # fmt: skip
        said = (ended.stdout if fault.command.startswith("task=check") else "") + ended.stderr
    said = "\n".join(relative(line, home) for line in said.splitlines())
    lines = [line.rstrip() for line in f"$ python -m salip_exp {fault.command}\n{said}".splitlines()]
    language = "text" if fault.command.startswith("task=check") else "console"  # a table must not be folded
    return "\n".join([f"```{language}", *lines, f"exit code {ended.returncode}", "```"])


def section(fault: Fault) -> str:
    """A fault of the page: what was done, and what is seen."""
    return f"### {fault.row}: {fault.said}\n\n{seen(fault)}\n"


def relative(line: str, home: str) -> str:
    """A line without the folder of the command; a table's frame stays in its column."""
    shorter = line.replace(f"{home}/", "").replace(home, ".")
    if not line.startswith("│"):
        return shorter
    return f"{shorter[:-1]}{' ' * (len(line) - len(shorter))}{shorter[-1]}"


def table() -> str:
    """Row and what is broken."""
    return "\n".join(["| row | what is broken |", "|---|---|", *(f"| {row} | {what} |" for row, what in ROWS.items())])


def main() -> None:
    """Write the page."""
    parts = [HEAD, "## What a user sees\n", *(section(fault) for fault in TEN), "## The matrix\n", table(), NOTES]
    PAGE.write_text("\n".join(parts).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
