"""Phantoms as the package reads them, and the configuration that goes with them."""

from __future__ import annotations

from collections.abc import Sequence

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.data.datasets import open_dataset

SETS = ("phantom_cc359", "phantom_hc18", "phantom_xray")
DRAWN = "dataset.phantom.n=12"
"""Images, or volumes of brains, that are drawn of each set."""


def configured(*overrides: str) -> Config:
    """The configuration that a command with these overrides has, over a set of phantoms."""
    return typed(compose([*overrides, DRAWN]))


def cases_of(config: Config, n: int) -> list[Case]:
    """Cases of a data set, evenly spread over it: n, or all where there are fewer."""
    refs = open_dataset(config.dataset, config.seed).refs
    n = min(n, len(refs))
    return [refs[i * len(refs) // n].load() for i in range(n)]


def one_of_each(overrides: Sequence[str] = ()) -> list[tuple[Config, Case]]:
    """One phantom of each set, with its configuration."""
    configs = [configured(f"dataset={name}", *overrides) for name in SETS]
    return [(config, cases_of(config, 1)[0]) for config in configs]
