"""The training script: courses, its share of a batch, and the whole of it in small, stopped and continued."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from salip_exp.networks._embedded.networks import build_clip, build_sam, read_clip, read_sam
from salip_exp.networks.registry import read_sums
from tools.embedded import train
from tools.embedded.scenes import Bank, make_bank
from tools.embedded.train_sam import Samples

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    folder, counts = tmp_path_factory.mktemp("bank"), {"brain": 1, "head": 1, "chest": 1}
    make_bank(folder, counts, 7, 1)
    return Samples(Bank(folder, counts, 7), 100)


def test_processes_share_a_batch_without_overlap(samples: Samples) -> None:
    whole = train.sam_batch(samples, 4, 0, 4, step=3)
    halves = [train.sam_batch(samples, 2, rank, 4, step=3) for rank in (0, 1)]
    for field, first, second in zip(whole, *halves, strict=True):
        assert torch.equal(field, torch.cat([first, second]))


def test_a_course_goes_on_at_the_step_where_it_stopped(samples: Samples) -> None:
    recipe = train.Recipe(steps=5, batch=2, rate=1e-3)

    def make(step: int) -> int:
        return 10 * step

    assert list(train.feed(make, recipe, 0, 3)) == [30, 40]
    assert list(train.feed(make, recipe, 2, 0)) == [0, 10, 20, 30, 40]  # drawn by two processes, in order


def test_a_course_in_percent_keeps_a_little_of_everything() -> None:
    small = train._scaled(train.COURSES["short"], 0.01)
    assert set(small.phantoms.values()) == {1}
    assert (small.sam.steps, small.clip.steps, small.view_parts) == (1, 1, 1)
    for course in train.COURSES.values():
        assert train._scaled(course, 100) == course


@pytest.mark.slow
@pytest.mark.parametrize(("course", "size"), [("short", "tiny"), ("small", "small")])
def test_the_whole_script_writes_weights_and_has_nothing_left_to_do_the_second_time(
    tmp_path: Path, course: str, size: str
) -> None:
    script = [sys.executable, "-m", "tools.embedded.train", "--course", course, "--percent", "0.01"]
    command = [*script, "--work", str(tmp_path / "work"), "--into", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=600)
    first = {file.name: file.read_bytes() for file in tmp_path.glob("*.safetensors")}
    sam, clip = (f"{network}_{size}.safetensors" for network in ("sam", "clip"))
    assert set(first) == set(read_sums(tmp_path)) == {sam, clip}
    build_sam(size).load_state_dict(read_sam(tmp_path / sam))
    build_clip(size).load_state_dict(read_clip(tmp_path / clip))
    steps = [torch.load(tmp_path / "work" / f"{network}_{size}.pt")["step"] for network in ("sam", "clip")]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True, timeout=600)
    assert {file.name: file.read_bytes() for file in tmp_path.glob("*.safetensors")} == first
    assert steps == [1, 1]
