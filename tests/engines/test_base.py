"""What an engine lacks is said in one sentence, before anything is started."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from salip_exp._engines.base import ended, engine
from salip_exp.config import ExecutorConfig, ExecutorName
from salip_exp.errors import EnvironmentFault


@pytest.mark.parametrize(("name", "package"), [("slurm", "submitit"), ("ray", "ray")])
def test_an_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"salip_exp._engines.{name}", raising=False)
    with pytest.raises(EnvironmentFault, match=rf"executor={name} is an extra: pip install 'salip_exp\[{name}\]'"):
        engine(ExecutorConfig(name=ExecutorName(name)))


def test_a_machine_without_slurm_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFault, match=r"there is no sbatch and no srun .*login node"):
        engine(ExecutorConfig(name=ExecutorName.slurm))


def test_a_state_says_how_a_worker_ended() -> None:
    assert [ended(code) for code in (0, 3, -9)] == ["finished", "failed(exit code 3)", "failed(exit code 137)"]
    assert "without an exit code" in ended(None)
