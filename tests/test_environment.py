"""Processes that are started see the variables that are named, and no other."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from salip_exp._environment import COMPUTING, PYTHON, environment_of_children, handing_on

FOREIGN = {"AWS_SECRET_ACCESS_KEY": "s", "GIT_DIR": "/x", "LD_PRELOAD": "", "SSH_AUTH_SOCK": "/y", "MY_TOKEN": "t"}


@pytest.mark.fault("E11")
def test_a_child_sees_the_variables_that_are_named_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {"OMP_NUM_THREADS": "1", "SALIP_CACHE": "c", "PYTHONPATH": "p", "WANDB_API_KEY": "k", "LC_TIME": "C"}
    for name, value in {**FOREIGN, **named}.items():
        monkeypatch.setenv(name, value)
    assert not set(FOREIGN) & set(environment_of_children(PYTHON, COMPUTING, ("WANDB_*",)))
    assert named.items() <= environment_of_children(PYTHON, COMPUTING, ("WANDB_*",)).items()
    assert {"PATH", "LC_TIME"} <= set(environment_of_children())
    assert not {"PYTHONPATH", "WANDB_API_KEY", "OMP_NUM_THREADS"} & set(environment_of_children())


@pytest.mark.fault("E11")
def test_a_process_that_inherits_gets_the_same_and_this_one_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FOREIGN.items():
        monkeypatch.setenv(name, value)
    before = dict(os.environ)
    with handing_on(environment_of_children(PYTHON)):
        said = subprocess.run(
            [sys.executable, "-c", "import os; print(sorted(os.environ))"], capture_output=True, text=True, check=True
        ).stdout
    assert "PATH" in ast.literal_eval(said) and not set(FOREIGN) & set(ast.literal_eval(said))
    assert dict(os.environ) == before
