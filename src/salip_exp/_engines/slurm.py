"""Workers as the jobs of one SLURM array, by submitit (extra `slurm`).

A job is its command and nothing else: whenever SLURM starts it, for the first time, after its time was up, after it had
to make room, or after its node went down, it goes on from the run folder.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from salip_exp._engines._program import last_line, read_code, run, write_code
from salip_exp._engines.base import RUNNING, WAITING, Command, ended, environment_of_workers
from salip_exp._environment import environment_of_children, handing_on
from salip_exp._wording import brief
from salip_exp.config import ExecutorConfig
from salip_exp.errors import ConfigError, EnvironmentFault

try:
    import submitit
    from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError
except ImportError as fault:
    raise EnvironmentFault("executor=slurm is an extra: pip install 'salip_exp[slurm]'") from fault

_OWN = ("SLURM_CONF", "SBATCH_*")
"""What SLURM's programs read."""
_MODULES = ("BASH_ENV", "BASH_FUNC_*", "MODULE*", "LMOD_*")
"""What `module load` in `executor.slurm.setup` needs."""
_FOR_EVER = 10**6  # times that a job may be queued again
_NOTICES = {128 + signal.SIGUSR1, 128 + signal.SIGUSR2}
_GONE_S = 300.0  # for SLURM to end what was cancelled
_POLL_S = 0.5
_ASK_S = 10.0  # between two questions about jobs: a queue serves many
_ON_NODES = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT"}


class Slurm:
    """Queues workers as one array."""

    how_to_look = "squeue --me --array"
    how_to_stop = "scancel JOB"

    def __init__(self, config: ExecutorConfig) -> None:
        missing = [each for each in ("sbatch", "srun", "squeue", "scancel") if shutil.which(each) is None]
        if missing:
            raise EnvironmentFault(
                f"executor=slurm needs SLURM's own programs, and there is no {' and no '.join(missing)}: run this on "
                "a login node of the cluster, or take executor=processes"
            )
        if config.slurm.signal_s >= 60 * config.slurm.time_min:
            raise ConfigError(
                f"executor.slurm.signal_s={config.slurm.signal_s} leaves a job no time to work, whose limit is "
                f"executor.slurm.time_min={config.slurm.time_min}: shorten the one or lengthen the other"
            )
        self.config = config

    def start(self, commands: Sequence[Command], logs: Path) -> _Jobs:
        """Queue the workers; nothing of them depends on this process."""
        logs = logs.absolute()
        if "%" in str(logs):
            raise EnvironmentFault(f"SLURM reads % in a path as a sign of its own: choose another folder than {logs}")
        logs.mkdir(parents=True, exist_ok=True)
        names = environment_of_workers() | environment_of_children(_OWN, _MODULES)
        try:
            with handing_on(names):
                queue = submitit.SlurmExecutor(logs, max_num_timeout=_FOR_EVER)
                queue.update_parameters(**_parameters(self.config))
                jobs = queue.map_array(_Worker(logs), [list(each) for each in commands])
        except (FailedJobError, FailedSubmissionError, subprocess.CalledProcessError) as error:
            raise EnvironmentFault(_refused(brief(str(error)))) from error
        return _Jobs({each.job_id: each.paths.stdout for each in jobs}, logs)


def _refused(said: str) -> str:
    """Why SLURM took no job, and what to do."""
    if "unable to contact" in said.lower():
        return f"SLURM's controller does not answer ({said}): nothing is queued; ask scontrol ping and try again"
    return (
        f"SLURM takes no such jobs ({said}): look at executor.slurm.partition, .account, .time_min, .mem_gb, "
        ".gpus_per_task, .cpus_per_task and .extra"
    )


def _parameters(config: ExecutorConfig) -> dict[str, Any]:
    """What submitit is told; it writes them into the script that sbatch gets."""
    slurm = config.slurm
    asked = {
        "partition": slurm.partition,
        "account": slurm.account,
        "mem": None if slurm.mem_gb is None else f"{round(1000 * slurm.mem_gb)}M",
        "cpus_per_task": slurm.cpus_per_task,
        "gpus_per_task": slurm.gpus_per_task,
        # srun does not read it from sbatch any more since SLURM 22.05
        "srun_args": None if slurm.cpus_per_task is None else [f"--cpus-per-task={slurm.cpus_per_task}"],
    }
    return {name: value for name, value in asked.items() if value is not None} | {
        "job_name": "salip_exp",
        "time": slurm.time_min,
        "signal_delay_s": slurm.signal_s,
        "setup": list(slurm.setup),
        "array_parallelism": config.workers,
        "stderr_to_stdout": True,
        "additional_parameters": {"requeue": True} | {name: value or True for name, value in slurm.extra.items()},
    }


class _Worker:
    """What submitit calls in a job."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs

    def __call__(self, command: Command) -> None:
        """Run the command in this process, so that SLURM's signals reach it and its exit code is the job's."""
        path = _code(self.logs, submitit.JobEnvironment().job_id)
        path.unlink(missing_ok=True)  # of the time before
        # The other signal of users, too, until the program answers it itself.
        signal.signal(signal.SIGUSR1, signal.getsignal(signal.SIGUSR2))
        code = run(command)
        if code in _NOTICES:
            signal.raise_signal(signal.SIGUSR2)  # the program has let go; submitit queues the job again and leaves
        write_code(path, code)
        if code:
            raise SystemExit(code)

    def checkpoint(self, command: Command) -> DelayedSubmission:
        """What the job is when it is queued again: the same command."""
        return DelayedSubmission(self, command)


def _code(logs: Path, job: str) -> Path:
    return logs / f"{job}.exit"


class _Jobs:
    """The crew; its ids are job ids."""

    def __init__(self, outputs: Mapping[str, Path], logs: Path) -> None:
        self._outputs = dict(outputs)
        self._logs = logs
        self._queue = dict.fromkeys(self._outputs, "PENDING")
        self._asked = 0.0

    @property
    def ids(self) -> Sequence[str]:
        return list(self._outputs)

    def states(self) -> Mapping[str, str]:
        if time.monotonic() - self._asked > _ASK_S:
            self._asked = time.monotonic()
            queued = _queued()
            self._queue = self._queue if queued is None else queued  # no answer says nothing about the jobs
        return {id: self._state(id, self._queue.get(id)) for id in self._outputs}

    def _state(self, id: str, in_queue: str | None) -> str:
        if in_queue is not None and in_queue not in _ON_NODES:
            return WAITING  # once more, perhaps, whatever it ended with before
        code = read_code(_code(self._logs, id))
        if code is None and in_queue is not None:
            return RUNNING
        return ended(code)

    def last_line(self, id: str) -> str:
        return last_line(self._outputs[id])

    def stop(self) -> None:
        own = self._left()
        if not own:
            return
        subprocess.run(["scancel", *sorted({each.partition("_")[0] for each in own})], check=False, env=_tools())
        limit = time.monotonic() + _GONE_S
        while left := self._left():
            if time.monotonic() > limit:
                raise EnvironmentFault(f"SLURM has not ended {', '.join(left)} yet: look at squeue --me --array")
            time.sleep(_POLL_S)

    def _left(self) -> list[str]:
        queued = _queued()
        return list(self._outputs) if queued is None else [each for each in self._outputs if each in queued]


def _queued() -> dict[str, str] | None:
    """The state of each of this user's jobs by its id; None where SLURM does not answer."""
    asked = ["squeue", "--me", "--array", "--noheader", "--format=%i %T"]
    answer = subprocess.run(asked, check=False, capture_output=True, text=True, env=_tools())
    return None if answer.returncode else dict(line.split() for line in answer.stdout.splitlines())


def _tools() -> dict[str, str]:
    return environment_of_children(_OWN)
