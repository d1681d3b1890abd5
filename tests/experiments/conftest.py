"""The fake experiment, as a module that a test can also start as a program."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp.config import Config, ScoreConfig


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fsync guards against, a power cut, happens in no test."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


@pytest.fixture(scope="session")
def fakes(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(Path(__file__).with_name("fakes.py"))


@pytest.fixture(scope="session")
def config() -> Config:
    return Config(score=ScoreConfig(resamples=200))
