"""The benchmark suite works: every benchmark on its smallest sizes. Each compares before it times."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SUITE = Path(__file__).parents[2] / "benchmarks"
SMALLEST = ["--quick", "--threads", "1", "--repeats", "1", "--points", "2", "--images", "1", "--trials", "3"]
SMALLEST += ["--per-grid", "1", "--grids", "2", "4", "--cases", "1", "--studies", "1", "--run-cases", "1"]


def run(results: Path, *arguments: str) -> list[dict[str, str]]:
    command = [sys.executable, SUITE / "run.py", *SMALLEST, "--results", results, *arguments]
    subprocess.run(command, check=True)
    with next(results.glob("*.csv")).open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_sweep_writes_rows_that_say_where_they_come_from(tmp_path):
    rows = run(tmp_path, "--only", "sweep")
    totals = {row["who"]: row for row in rows if row["setting"] == "3 trials, 1 images"}
    assert float(totals["reference"]["value"]) > float(totals["salip_exp"]["value"]) > 0
    assert "of 3 trial-images timed" in totals["reference"]["extrapolated"]
    assert {row["benchmark"] for row in rows} == {"sweep", "trial"}
    assert all(row["torch"] and row["processor"] and row["date"] and row["threads"] == "1" for row in rows)
    counts = {row["setting"].rpartition(" ")[2]: row["value"] for row in rows if row["unit"] == "count"}
    assert counts["encoder_calls"] == "5"


@pytest.mark.parametrize("name", ["one_image", "memory", "allocator", "study", "arithmetic"])
def test_every_other_benchmark_runs(tmp_path, name):
    assert {row["benchmark"] for row in run(tmp_path, "--only", name)} == {name}


def test_the_comparison_with_the_authors_code_says_that_there_is_none(tmp_path):
    done = subprocess.run([sys.executable, SUITE / "authors.py", tmp_path], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("is no checkout of the authors' repository: nothing is compared")


def test_the_gpu_script_says_that_there_is_no_gpu(tmp_path):
    command = [sys.executable, SUITE / "gpu.py", "--results", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, env={"CUDA_VISIBLE_DEVICES": ""})
    assert done.returncode == 1
    assert done.stderr.strip() == "no GPU here: nothing is measured"


def test_int8_is_compared_with_exact_arithmetic_on_each_data_set():
    command = [sys.executable, SUITE / "quantised.py", "--cases", "1", "--ways", "int8"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    encoder, *sets = [json.loads(line) for line in done.stdout.splitlines()]
    assert 0 < encoder["apart"] < 0.1
    assert [each["dataset"] for each in sets] == ["phantom_cc359", "phantom_hc18", "phantom_xray"]
    assert all(each["largest change of DSC"] < 0.1 for each in sets)


@pytest.mark.ci
def test_packages_side_by_side_find_the_same_masks(tmp_path):
    pytest.importorskip("transformers")
    small = ["--grids", "2", "--repeats", "1", "--results", tmp_path]
    subprocess.run([sys.executable, SUITE / "beside.py", *small], check=True)
    with (tmp_path / "beside.csv").open(newline="") as stream:
        told = {row["who"]: row["work"] for row in csv.DictReader(stream)}
    assert {"segment_anything", "salip_exp", "transformers", "salip_exp around transformers"} <= set(told)
    assert set(told.values()) == {told["segment_anything"]}
    assert "IoU 1.0000" in told["segment_anything"]
