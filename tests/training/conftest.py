"""The discs, written once, and what trains on them; a test leaves torch's number of threads as it found it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch


@pytest.fixture(scope="session")
def stubs(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(Path(__file__).with_name("stubs.py"))


@pytest.fixture(scope="session")
def discs(stubs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stubs.write_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trained(stubs: ModuleType, discs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert stubs.train(discs, folder) == 0
    return folder
