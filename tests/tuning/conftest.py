"""The stub study as a module, in a process that may also start it as a program."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def stubs() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tuning_stubs", Path(__file__).with_name("stubs.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
