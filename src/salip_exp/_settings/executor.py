"""Who does the work: what contradicts itself in `executor` and `shard`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from salip_exp.config import Config, ExecutorConfig, ExecutorName, Task
from salip_exp.methods.traits import METHODS

AUTO = "auto"
_NTH = re.compile(r"(\d{1,6})/([1-9]\d{0,5})")
_CARRIED = {Task.run, Task.tune, Task.experiment, Task.check}  # a check takes the overrides of what it is about


def shard_of(shard: str) -> tuple[int, int] | None:
    """(i, n) of `i/n`: of every n shards one, counted from 0 or from 1, as schedulers do; None of `auto`.

    Raises:
        ValueError: it is neither.
    """
    if shard == AUTO:
        return None
    found = _NTH.fullmatch(shard)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"shard={shard} is not understood: write shard=3/64, the third of 64 parts, or shard=auto")
    return int(found[1]), int(found[2])


def contradictions(config: Config) -> Iterator[str]:
    """What cannot be, each in a sentence."""
    executor, serial = config.executor, config.executor.name is ExecutorName.serial
    if config.shard is not None:
        try:
            shard_of(config.shard)
        except ValueError as error:
            yield str(error)
        if config.task not in _CARRIED or (config.task is not Task.run and config.shard != AUTO):
            yield f"shard={config.shard} is part of a run, and task={config.task} has no such parts: drop it"
        if not serial:
            yield f"executor={executor.name} starts workers itself: drop shard={config.shard}, or the executor"
    if not serial and config.task not in _CARRIED:
        yield f"executor={executor.name} carries runs, studies and experiments, not task={config.task}: drop it"
    yield from _unread(executor, alone=serial and config.shard is None)
    far = executor.name in (ExecutorName.slurm, ExecutorName.ray)
    if far and config.task is Task.tune and config.tuning.storage is None:
        yield f"executor={executor.name} needs a database that all workers reach: add tuning.storage=postgresql://..."
    if config.seeds and METHODS[config.method].trained and not serial:
        yield f"method={config.method} is trained for each seed, by one process: drop the executor"
    if executor.detach and executor.name in (ExecutorName.serial, ExecutorName.processes):
        yield f"executor.detach=true needs a queue that goes on by itself, and executor={executor.name} has none"
    if executor.gpus and executor.name is not ExecutorName.processes:
        yield "executor.gpus shares out the GPUs of this machine to executor=processes: a queue gives out its own"


def _unread(executor: ExecutorConfig, alone: bool) -> Iterator[str]:
    """Keys that say how workers are to be, where there are none, or none of this engine."""
    usual = ExecutorConfig()
    if alone and executor.workers != usual.workers:  # beside `shard` it says how large one is
        yield f"executor.workers={executor.workers} starts none by itself: add executor=processes, slurm or ray"
    for name in (ExecutorName.slurm, ExecutorName.ray):
        if name is not executor.name and getattr(executor, name.value) != getattr(usual, name.value):
            yield f"executor.{name}.* is for executor={name}, and executor={executor.name} was asked for"
