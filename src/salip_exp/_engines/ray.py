"""Workers as actors of a Ray cluster (extra `ray`): each keeps one process of the program.

An actor whose node dies is started on another by Ray, and begins its command anew, which goes on from the run folder.
"""

from __future__ import annotations

import logging
import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event, Thread
from typing import Any

from salip_exp._engines._program import last_line, own_signals, read_code, write_code
from salip_exp._engines.base import RUNNING, WAITING, Command, ended, environment_of_workers, failed
from salip_exp._engines.processes import GRACE_S, end, open_worker
from salip_exp._wording import brief
from salip_exp.config import ExecutorConfig
from salip_exp.errors import ConfigError, EnvironmentFault

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is told to Ray's makers; read when it is imported
try:
    import ray
    from ray.exceptions import RayActorError, RayError
except ImportError as fault:
    raise EnvironmentFault("executor=ray is an extra: pip install 'salip_exp[ray]'") from fault

_SPACE = "salip_exp"
_STORE = 100 * 10**6  # bytes of shared memory that a cluster of our own sets apart; nothing is kept there
_ANSWER_S = 20.0
_LOOK_S = 0.2  # for answers of actors that are alive
_CHOSEN_BY_RAY = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")


class Ray:
    """Starts workers as actors, which wait until the cluster has what they ask for."""

    how_to_look = "ray status"
    how_to_stop = f"python -c \"import ray; ray.init('auto', namespace='{_SPACE}'); ray.kill(ray.get_actor('NAME'))\""

    def __init__(self, config: ExecutorConfig) -> None:
        if config.detach and config.ray.address is None:
            raise ConfigError(
                "executor.detach=true: a Ray cluster of this command's own ends with it; start one by "
                "ray start --head and give executor.ray.address=auto"
            )
        self.config = config

    def start(self, commands: Sequence[Command], logs: Path) -> _Actors:
        """Start the workers on the cluster, or on one of this process's own, which ends when the crew is stopped."""
        logs = logs.absolute()
        logs.mkdir(parents=True, exist_ok=True)
        if not ray.is_initialized():
            self._connect()
        token = uuid.uuid4().hex[:8]
        named = {f"{token}-{number}": list(each) for number, each in enumerate(commands)}
        return _Actors({name: self._actor(name, each, logs) for name, each in named.items()}, logs)

    def _connect(self) -> None:
        address = self.config.ray.address
        own: dict[str, Any] = {} if address else {"include_dashboard": False, "object_store_memory": _STORE}
        try:
            _knock(address)
            with own_signals():
                ray.init(address or "local", namespace=_SPACE, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, RayError, ValueError, RuntimeError) as error:
            raise EnvironmentFault(
                f"no Ray cluster answers at executor.ray.address={address} ({brief(str(error))}): start one by "
                "ray start --head, or leave the address out for one on this machine"
            ) from error

    def _actor(self, name: str, command: Command, logs: Path) -> Any:
        asked = self.config.ray
        kind = ray.remote(_Seat).options(
            name=name,
            lifetime="detached" if self.config.detach else None,
            num_gpus=float(ray.cluster_resources().get("GPU", 0) > 0) if asked.num_gpus is None else asked.num_gpus,
            num_cpus=asked.num_cpus,
            max_restarts=-1,
            max_task_retries=-1,
            max_concurrency=2,
        )
        return kind.remote(command, str(Path.cwd()), _log(logs, name), _code(logs, name), environment_of_workers())


def _knock(address: str | None) -> None:
    """Raises OSError where nobody listens at host:port; Ray itself tries that for minutes."""
    host, _, port = (address or "").rpartition(":")
    if port.isdigit():
        socket.create_connection((host, int(port)), _ANSWER_S).close()


def _log(logs: Path, name: str) -> Path:
    return logs / f"worker-{name}.log"


def _code(logs: Path, name: str) -> Path:
    return logs / f"worker-{name}.exit"


class _Seat:
    """An actor: it starts the command in a process, and ends itself with it."""

    def __init__(self, command: Command, folder: str, log: Path, code: Path, environment: Mapping[str, str]) -> None:
        os.chdir(folder)  # relative paths of the command mean what they meant where it was typed
        code.unlink(missing_ok=True)  # of the time before
        chosen = {name: os.environ[name] for name in _CHOSEN_BY_RAY if name in os.environ}
        self.code = code
        self.ended = Event()
        self.process = open_worker(command, log, {**environment, **chosen})
        Thread(target=self._watch, args=(ray.get_runtime_context().current_actor,), daemon=True).start()

    def _watch(self, itself: Any) -> None:
        code = self.process.wait()
        write_code(self.code, code)
        self.ended.set()
        ray.kill(itself)  # what it held is free for those who wait

    def ping(self) -> None:
        """Answer: it is at work."""

    def stop(self) -> None:
        """End the process, and with it the actor; return once its code is kept, for who asked kills the actor next."""
        end(self.process)
        self.ended.wait()


_crews: list[_Actors] = []
"""Those of this process that were not stopped; with the last of them it leaves the cluster, or ends its own."""


class _Actors:
    """The crew; its ids are names of actors."""

    def __init__(self, actors: Mapping[str, Any], logs: Path) -> None:
        self._actors = dict(actors)
        self._logs = logs
        self._asked = {name: each.ping.remote() for name, each in self._actors.items()}
        _crews.append(self)

    @property
    def ids(self) -> Sequence[str]:
        return list(self._actors)

    def states(self) -> Mapping[str, str]:
        alive = self._alive()
        codes = {name: read_code(_code(self._logs, name)) for name in self._actors}
        return {name: alive.get(name, WAITING) if code is None else ended(code) for name, code in codes.items()}

    def _alive(self) -> dict[str, str]:
        """Of each actor that answers, or has died for good, its state."""
        names = {ref: name for name, ref in self._asked.items()}
        answered, _ = ray.wait(list(names), num_returns=len(names), timeout=_LOOK_S)
        return {names[ref]: self._heard(names[ref], ref) for ref in answered}

    def _heard(self, name: str, ref: Any) -> str:
        try:
            ray.get(ref)
        except RayActorError:
            return failed(None)
        self._asked[name] = self._actors[name].ping.remote()
        return RUNNING

    def _at_work(self, name: str) -> bool:
        """Whether its process has begun and not ended, also where a busy machine lets its answer wait."""
        return _log(self._logs, name).exists() and read_code(_code(self._logs, name)) is None

    def last_line(self, id: str) -> str:
        return last_line(_log(self._logs, id))

    def stop(self) -> None:
        if self not in _crews:
            return
        running = [each for name, each in self._actors.items() if self._at_work(name)]
        for each in self._actors.values():
            if each not in running:  # first: one that waits would take the place of one that ends, and begin
                ray.kill(each)
        asked = [each.stop.options(max_task_retries=0).remote() for each in running]
        ray.wait(asked, num_returns=len(asked), timeout=2 * GRACE_S) if asked else None
        for each in running:
            ray.kill(each)
        _crews.remove(self)
        if not _crews:
            ray.shutdown()
