"""What cannot be, of executors and shards, is said in a sentence."""

from __future__ import annotations

import pytest

from salip_exp._settings.compose import compose
from salip_exp._settings.executor import shard_of
from salip_exp._settings.validate import typed
from salip_exp.errors import ConfigError


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["shard=65/64"], "shard=65/64 is not understood"),
        (["shard=some"], "shard=some is not understood"),
        (["shard=auto", "executor=processes"], "executor=processes starts workers itself"),
        (["shard=1/3", "task=tune"], "task=tune has no such parts"),
        (["executor=slurm", "task=tune"], "add tuning.storage=postgresql"),
        (["executor=slurm", "task=report"], "not task=report"),
        (["executor=processes", "seeds=[1,2]", "method=unet"], "trained for each seed, by one process"),
        (["executor=processes", "executor.detach=true"], "executor.detach=true needs a queue"),
        (["executor=slurm", "executor.gpus=[0]"], "executor.gpus shares out"),
        (["executor.workers=8"], "executor.workers=8 starts none by itself: add executor=processes"),
        (["executor.slurm.partition=gpu"], "executor.slurm.* is for executor=slurm, and executor=serial was asked for"),
        (["executor=slurm", "executor.ray.address=auto"], "executor.ray.* is for executor=ray, and executor=slurm"),
        (["executor.workers=0"], "executor.workers=0 is out of range"),
    ],
)
def test_contradictions(overrides, sentence):
    with pytest.raises(ConfigError, match=sentence):
        typed(compose(overrides))


@pytest.mark.parametrize("kind", ["serial", "processes", "slurm", "ray"])
def test_every_executor_can_be_chosen(kind):
    assert typed(compose([f"executor={kind}"])).executor.name == kind


def test_parts_of_a_run_are_as_many_as_workers_share():
    assert typed(compose(["shard=auto", "executor.workers=8"])).executor.workers == 8


def test_shards_are_counted_from_0_or_from_1():
    assert [shard_of(each) for each in ("auto", "0/4", "4/4", "03/64")] == [None, (0, 4), (4, 4), (3, 64)]
