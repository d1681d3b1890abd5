"""The command line as a user types it, small enough for every fault: tiny pictures, embedded networks."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salip_exp import cli

QUICK = (
    "sam=tiny", "clip=tiny", "sam.points_per_side=4", "dataset.resize.side=64", "figures=none", "score.resamples=100",
    "progress=false", "device=cpu", "threads=1",
)  # fmt: skip
FOLDER = ("dataset=folder", 'vdt.sentences=["a bright oval on black"]', *QUICK)


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        assert self.err.startswith("error: "), self.err
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.out + self.err
        return self.err


Command = Callable[..., Ended]


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Type a command in an empty folder; this process runs it, since importing torch takes seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")

    def run(*arguments: str) -> Ended:
        return in_process(arguments, capsys)

    return run


def in_process(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> Ended:
    """Run the command line here, as `python -m salip_exp` does; signals stay pytest's."""
    before = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["salip-exp", *arguments]
    capsys.readouterr()
    try:
        cli.main()
    except SystemExit as ended:
        said = capsys.readouterr()
        return Ended(int(ended.code or 0), said.out, said.err)
    finally:
        sys.argv = before[0]
        signal.signal(signal.SIGTERM, before[1])


def program(*arguments: str, cwd: Path, **options: Any) -> Ended:
    """Run the command as a process of its own, for faults that a process may not survive."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "salip_exp", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, check=False, **options,
    )  # fmt: skip
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="session")
def process() -> Command:
    """The command as a process of its own."""
    return program


@pytest.fixture(scope="session")
def quick() -> tuple[str, ...]:
    """Overrides that make a run of the embedded networks a matter of a second."""
    return QUICK


@pytest.fixture(scope="session")
def folder() -> tuple[str, ...]:
    """The same on the user's own images; `dataset.root` is still to be said."""
    return FOLDER


def oval(seed: int, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A bright oval on noise, uint8 (side, side), and its mask of 0 and 255."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    y, x = rng.uniform(26, 38, 2)
    mask = ((rows - y) / 18) ** 2 + ((columns - x) / 13) ** 2 <= 1
    image = rng.integers(0, 40, (side, side)) + 170 * mask
    return image.astype(np.uint8), (255 * mask).astype(np.uint8)


def save(path: Path, pixels: Any) -> Path:
    """A picture file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path)
    return path


def add(root: Path, name: str, seed: int = 0) -> Path:
    """One good image with its mask below a root of `dataset=folder`; the image's path."""
    image, mask = oval(seed)
    save(root / "masks" / f"{name}_mask.png", mask)
    return save(root / "images" / f"{name}.png", image)


def good(root: Path) -> Path:
    """Four good images."""
    for number in range(4):
        add(root, f"good_{number}", number)
    return root


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A root with four good images."""
    return good(tmp_path / "data")


def rows(run: Path) -> dict[str, dict[str, str]]:
    """The table of a run by case, without what differs from run to run."""
    with (run / "cases.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    differ = ("seconds_", "image", "mask", "prediction")
    return {row["case_id"]: {key: row[key] for key in row if not key.startswith(differ)} for row in table}


def newest(place: Path) -> Path:
    """The newest run folder below outputs/."""
    return max(place.glob("outputs/*/*/*/status.json"), key=lambda path: path.parent.name).parent


def summary(run: Path) -> dict[str, Any]:
    """A run's summary, in which no NaN may stand."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} in summary.json")

    found: dict[str, Any] = json.loads((run / "summary.json").read_text(), parse_constant=refuse)
    return found


def calls(work: Callable[[], Any]) -> int:
    """How many calls some work makes, of Python's functions and of C's: it is the same on every machine."""
    count = 0

    def called(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture(scope="session")
def helpers() -> Any:
    """The functions of this file, for tests."""
    return sys.modules[__name__]
