"""What is wrong with the configuration of a U-Net, in sentences; read before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator

from salip_exp.config import Config, Task
from salip_exp.methods.traits import METHODS


def contradictions(config: Config) -> Iterator[str]:
    """One sentence for each thing that cannot be."""
    traits = METHODS[config.method]
    if config.task is Task.train and not traits.trained:
        yield f"task=train and method={config.method} exclude each other: only method=unet is trained"
    if config.tuned is not None and not traits.sam:
        yield f"tuned={config.tuned} has settings of SAM, and method={config.method} has no SAM: leave it out"
    if not traits.trained:
        return
    if config.task is Task.train and config.unet.weights is not None:
        yield f"unet.weights={config.unet.weights} is for runs, and task=train makes weights of its own: leave it out"
    yield from _shape(config)
    if config.unet.val + config.unet.test >= 1:
        yield (
            f"unet.val={config.unet.val} and unet.test={config.unet.test} leave nothing to learn from: their sum must "
            "be below 1"
        )


def _shape(config: Config) -> Iterator[str]:
    side, levels = config.unet.side, len(config.unet.channels)
    if levels < 2:
        yield f"unet.channels={config.unet.channels} is no U-Net: give two levels or more, e.g. [16,32,64,128]"
        return
    step = 2 ** (levels - 1)
    if side % step or side < 2 * step:
        yield (
            f"unet.side={side} cannot be halved {levels - 1} times, for the {levels} levels of unet.channels: take a "
            f"multiple of {step}, {2 * step} or more"
        )
