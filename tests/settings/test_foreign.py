"""Hydra's sources of files are looked at in every process, also in one that a launcher has started."""

from __future__ import annotations

import subprocess
import sys

JOB = """
from hydra.core.singleton import Singleton
from hydra._internal.sources_registry import SourcesRegistry
from salip_exp._settings import foreign
Singleton.set_state(Singleton.get_state())  # as a launcher does in the process of a job
print(all(issubclass(SourcesRegistry.instance().resolve(kind), foreign._Looked) for kind in ("file", "pkg")))
"""


def test_a_job_in_another_process_keeps_them() -> None:
    done = subprocess.run([sys.executable, "-c", JOB], check=False, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")
