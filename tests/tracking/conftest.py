"""What the tests of tracking share: fake servers, a reader of wandb's files, and a run without networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from salip_exp._tracking import wandb_tracker

HERE = Path(__file__).parent


class Listener:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list = []

    def tell(self, events) -> None:
        self.events += events

    def end(self, exit_code: int) -> None:
        self.events.append(exit_code)


@pytest.fixture(scope="package", autouse=True)
def time_enough() -> Iterator[None]:
    """To start wandb takes a busy machine longer than a user would wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wandb_tracker, "LOCAL_S", 600.0)
        yield


@pytest.fixture(scope="session")
def servers(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(HERE / "servers.py")


@pytest.fixture(scope="session")
def wandb_file(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(HERE / "wandb_file.py")


@pytest.fixture
def listener() -> Listener:
    return Listener()
