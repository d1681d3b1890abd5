"""Whatever bytes a reader is given, it ends soon, runs nothing, and gives a result or an error with a name."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))
fuzzing = importlib.import_module("fuzzing")

ROWS = {
    "nifti": "D1", "nifti.gz": "D1", "nifti.gz, inside": "D1", "png": "D2", "png, resealed": "D2",
    "jpeg": "N2", "tiff": "N3", "bmp": "N3",
    "dicom": "N11", "dicom frames": "N11", "nrrd": "N11", "metaimage": "N11", "ome-tiff": "N11", "npz": "N11",
    "npz, inside": "N11", "coco": "N12", "table": "N12", "tree": "N12",
    "annotation": "D7", "annotation, resealed": "D7", "csv": "D17",
    "yaml configuration": "C2", "tuned.yaml": "C3", "vdt json": "C4", "case record": "S6", "cache entry": "R3",
    "cache entry, resealed": "R3", "summary": "S5",
}  # fmt: skip
READERS = [
    pytest.param(each, id=each.name, marks=pytest.mark.fault(ROWS[each.name], "R10")) for each in fuzzing.READERS
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all inputs: each is written over the one before."""
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("reader", READERS)
def test_a_valid_file_is_read(reader: Any, place: Path) -> None:
    for seed in reader.seeds:
        assert fuzzing.outcome(reader, seed, place) == "valid"


@pytest.mark.parametrize("reader", READERS)
def test_a_damaged_file_is_read_or_refused_by_name(reader: Any, place: Path) -> None:
    inputs = 8 if reader.name == "yaml configuration" else 30

    @settings(max_examples=inputs, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(st.integers(0, 9), fuzzing.steps)
    def attempt(which: int, changes: list[Any]) -> None:
        assert fuzzing.outcome(reader, fuzzing.mutated(reader, which, changes), place)

    attempt()


@pytest.mark.fault("R10")
def test_the_watch_hears_what_is_run() -> None:
    with pytest.raises(AssertionError, match=r"os\.system"), fuzzing.WATCH.watching():
        os.system("true")


@pytest.mark.fault("R10")
def test_the_watch_ends_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzzing, "SECONDS", 0.05)
    with pytest.raises(fuzzing.Hang), fuzzing.WATCH.watching():
        time.sleep(30)
