"""Workers as actors of a real Ray of two raylets on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from salip_exp._engines.base import Crew, engine
from salip_exp.config import ExecutorConfig, ExecutorName, RayConfig
from salip_exp.errors import ConfigError, EnvironmentFault

pytestmark = pytest.mark.ci


def begin(places: Any, logs: Path, n: int = 2, code: int = 0, detach: bool = False, **ray: Any) -> Crew:
    config = ExecutorConfig(name=ExecutorName.ray, workers=n, detach=detach, ray=RayConfig(**ray))
    return engine(config).start([places.command(str(code))] * n, logs)


def test_workers_begin_on_both_nodes_and_a_dead_node_s_begin_again_on_the_other(
    ray_cluster: Any, places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    crew = begin(places, tmp_path / "logs", n=4, address=ray_cluster.address)
    until(lambda: len(places.begun()) == 4)
    until(lambda: set(crew.states().values()) == {"running"})
    nodes = {process: ray_cluster.node_of(process) for process in places.processes()}
    assert set(nodes.values()) == {"n1", "n2"}
    ray_cluster.kill("n1")
    lost = [process for process, node in nodes.items() if node == "n1"]
    until(lambda: len(places.begun()) == 4 + len(lost))
    assert {ray_cluster.node_of(each) for each in set(places.processes()) - set(nodes)} == {"n2"}
    until(lambda: not any(Path(f"/proc/{each}").exists() for each in lost))
    places.go()
    until(lambda: set(crew.states().values()) == {"finished"})
    assert {crew.last_line(id) for id in crew.ids} == {"done"}
    crew.stop()


def test_a_cluster_of_its_own_gives_places_to_those_who_wait_and_ends_with_the_crew(
    places: Any, tmp_path: Path, until: Callable[..., None]
) -> None:
    ray = pytest.importorskip("ray")
    before = signal.getsignal(signal.SIGTERM)
    crew = begin(places, tmp_path / "logs", n=2, code=3, num_cpus=os.cpu_count())
    assert signal.getsignal(signal.SIGTERM) is before
    until(lambda: sorted(crew.states().values()) == ["running", "waiting"])
    places.go()
    until(lambda: set(crew.states().values()) == {"failed(exit code 3)"})
    crew.stop()
    assert not ray.is_initialized()
    crew.stop()


def test_a_stopped_crew_leaves_nothing(
    ray_cluster: Any, places: Any, tmp_path: Path, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    crew = begin(places, tmp_path / "logs", n=5, address=ray_cluster.address, num_cpus=2)
    until(lambda: len(places.begun()) == 4)
    until(lambda: sorted(set(crew.states().values())) == ["running", "waiting"])
    processes = places.processes()
    monkeypatch.setattr("salip_exp._engines.ray._LOOK_S", 0.0)  # a machine so busy that no actor answers in time
    crew.stop()
    assert not [each for each in processes if Path(f"/proc/{each}").exists()]
    assert sorted(path.read_text() for path in (tmp_path / "logs").glob("*.exit")) == ["143\n"] * 4


def test_an_actor_that_is_told_to_stop_answers_after_its_code_is_kept(
    places: Any, tmp_path: Path, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = pytest.importorskip("salip_exp._engines.ray")
    keep = module.write_code

    def late(path: Path, code: int) -> None:
        time.sleep(0.5)
        keep(path, code)

    monkeypatch.setattr(module, "write_code", late)
    monkeypatch.setattr(module.ray, "get_runtime_context", lambda: SimpleNamespace(current_actor=None))
    monkeypatch.setattr(module.ray, "kill", lambda itself: None)
    monkeypatch.chdir(Path.cwd())
    code = tmp_path / "worker.exit"
    seat = module._Seat(places.command("0"), str(Path.cwd()), tmp_path / "worker.log", code, dict(os.environ))
    until(lambda: len(places.begun()) == 1)
    seat.stop()
    assert code.read_text() == "143\n"


STARTER = """
import sys
from pathlib import Path
from salip_exp._engines.base import engine
from salip_exp.config import ExecutorConfig, ExecutorName, RayConfig
config = ExecutorConfig(name=ExecutorName.ray, detach=True, ray=RayConfig(address=sys.argv[2]))
print(engine(config).start([["-m", "stand_in", sys.argv[1]]], Path(sys.argv[1], "logs")).ids)
"""


def test_a_detached_crew_outlives_who_started_it_and_goes_on_elsewhere(
    ray_cluster: Any, places: Any, until: Callable[..., None]
) -> None:
    said = subprocess.run(
        [sys.executable, "-c", STARTER, str(places.folder), ray_cluster.address], check=True, capture_output=True
    )
    assert said.stderr == b""  # Ray tells nothing
    until(lambda: len(places.begun()) == 1)
    ray_cluster.kill(ray_cluster.node_of(*places.processes()))
    until(lambda: len(places.begun()) == 2)
    places.go()
    until(lambda: [each.read_text() for each in (places.folder / "logs").glob("*.exit")] == ["0\n"])


def test_what_cannot_be_is_said_in_one_line(places: Any, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(EnvironmentFault, match=r"no Ray cluster answers.*ray start --head") as raised:
        begin(places, tmp_path, address="127.0.0.1:1")
    assert "\n" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"executor\.ray\.address"):
        begin(places, tmp_path, detach=True)
