"""What keeps the official packages from being imported is said in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys
from salip_exp.errors import EnvironmentFault
try:
    import salip_exp.networks.packages
except EnvironmentFault as fault:
    print(fault)
    sys.exit(fault.exit_code)
"""


def imported(first: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(first), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True)


@pytest.mark.ci
@pytest.mark.parametrize(
    ("package", "body", "words"),
    [
        (
            "torchvision",
            "raise RuntimeError('operator torchvision::nms does not exist')",
            ["torchvision::nms", "different builds"],
        ),
        ("pkg_resources", "raise ModuleNotFoundError(\"No module named 'pkg_resources'\")", ["setuptools<81"]),
    ],
)
def test_a_broken_package_is_the_environments_fault(tmp_path: Path, package: str, body: str, words: list[str]) -> None:
    (tmp_path / f"{package}.py").write_text(body)
    if package == "pkg_resources":  # only clip asks for it: the other need not take its seconds
        (tmp_path / "segment_anything").mkdir()
        (tmp_path / "segment_anything" / "__init__.py").touch()
        (tmp_path / "segment_anything" / "modeling.py").write_text("Sam = object")
    done = imported(tmp_path)
    assert done.returncode == 6, done.stderr
    assert done.stdout.count("\n") == 1
    assert all(word in done.stdout for word in words)


@pytest.mark.ci
def test_importing_them_warns_of_nothing(tmp_path: Path) -> None:
    done = imported(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
