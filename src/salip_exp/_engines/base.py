"""What an engine is: it starts commands somewhere, and says how they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Protocol

from salip_exp._environment import COMPUTING, NETWORK, PYTHON, environment_of_children
from salip_exp.config import ExecutorConfig

WAITING, RUNNING, FINISHED = "waiting", "running", "finished"
"""States of a worker; a fourth is what `failed` says."""
Command = Sequence[str]
"""What follows the interpreter: `-m`, a module, its arguments."""


class Crew(Protocol):
    """Workers that an engine has started or queued."""

    @property
    def ids(self) -> Sequence[str]:
        """Job ids, process ids or names of actors: what a user looks for by the engine's own tools."""

    def states(self) -> Mapping[str, str]:
        """Of each id: waiting, running, finished, or failed with the reason."""

    def last_line(self, id: str) -> str:
        """The last line of a worker's log; empty where it has said nothing yet."""

    def stop(self) -> None:
        """End those that still work, and wait until they are gone; nothing happens where none is left."""


class Engine(Protocol):
    """Starts workers.

    Attributes:
        how_to_look, how_to_stop: commands for who has detached, with the place of an id in capitals.
    """

    how_to_look: str
    how_to_stop: str

    def start(self, commands: Sequence[Command], logs: Path) -> Crew:
        """Start or queue a worker for each command.

        Args:
            commands: of this interpreter.
            logs: folder for what each prints; it is made where it is missing, and every worker must reach it.

        Raises:
            EnvironmentFault: the engine is not installed, not there, or takes no such workers.
        """


_ENGINES = {
    "processes": "salip_exp._engines.processes:Processes",
    "slurm": "salip_exp._engines.slurm:Slurm",
    "ray": "salip_exp._engines.ray:Ray",
}


def engine(config: ExecutorConfig) -> Engine:
    """The engine that is asked for, by its name.

    Raises:
        EnvironmentFault: it is an extra, which is not installed.
    """
    made: Engine = resolve_name(_ENGINES[config.name])(config)
    return made


def failed(code: int | None) -> str:
    """The state of a worker that ended with another exit code than 0; None where it left none."""
    if code is None:
        return "failed(it is gone without an exit code: killed, or its node is down)"
    return f"failed(exit code {code if code >= 0 else 128 - code})"


def ended(code: int | None) -> str:
    """The state of a worker that has ended."""
    return FINISHED if code == 0 else failed(code)


def environment_of_workers() -> dict[str, str]:
    """What a worker gets to see of this process's variables, wherever it is started."""
    return environment_of_children(PYTHON, NETWORK, COMPUTING, ("WANDB_*", "NETRC", "HF_*"))
