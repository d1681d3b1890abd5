"""A real SLURM of two nodes and a real Ray of two raylets on this machine; tests are skipped where they are absent."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "munged", "mungekey")
SETTINGS = """
ClusterName=test
SlurmctldHost=localhost
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
SlurmctldPort={ports[0]}
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=1,bf_interval=1
ReturnToService=2
MpiDefault=none
KillWait=5
SlurmdTimeout=10
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 State=UNKNOWN
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


@dataclass
class RealSlurm:
    """SLURM's daemons, all of them of this session, in a folder."""

    folder: Path
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        log = (self.folder / f"{name}.out").open("ab")
        self.started[name] = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def node(self, name: str) -> None:
        self.start(name, "slurmd", "-D", "-N", name)

    def ask(self, *command: str) -> str:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def queued_again(self, job: str) -> bool:
        """Whether a job waits once more; it shall begin in three seconds then, and not in two minutes.

        Below that a node takes the credential for the one before, which is revoked; they count in whole seconds.
        """
        if "PENDING" not in self.ask("squeue", "--noheader", "--array", f"--jobs={job}", "--format=%T"):
            return False
        self.ask("scontrol", "update", f"jobid={job}", "starttime=now+3seconds")
        return True

    def restarts(self) -> list[tuple[str, str]]:
        """Jobs that wait and have worked before, with how many times they were queued again."""
        said = self.ask("squeue", "--noheader", "--array", "--states=pending", "--Format=JobArrayID,RestartCnt")
        return [(job, times) for job, times in map(str.split, said.splitlines()) if times != "0"]

    def kill(self, node: str) -> None:
        """End a node's daemon and all that works there, as a power cut would."""
        self.started[node].kill()
        self.started[node].wait()
        for each in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                here = f"SLURMD_NODENAME={node}".encode() in (each / "environ").read_bytes().split(b"\0")
                parent = int((each / "stat").read_text().rpartition(")")[2].split()[1])
                if here and b"slurmstepd" in Path(f"/proc/{parent}/cmdline").read_bytes():
                    os.kill(parent, signal.SIGKILL)
                if here:
                    os.kill(int(each.name), signal.SIGKILL)

    def idle(self) -> bool:
        answer = subprocess.run(["sinfo", "-h", "-N", "-o", "%T"], capture_output=True, text=True, check=False)
        return answer.stdout.split() == ["idle", "idle"]

    def stop(self) -> None:
        for each in reversed(self.started.values()):
            each.send_signal(signal.SIGTERM)
            each.wait(60)


def free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="session")
def slurm_daemons(tmp_path_factory: pytest.TempPathFactory, until: Callable[..., None]) -> Iterator[RealSlurm]:
    missing = [each for each in PROGRAMS if shutil.which(each) is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"no SLURM: {', '.join(missing) or 'root'} is absent (Debian: slurmctld slurmd slurm-client munge)")
    pytest.importorskip("submitit")
    slurm = RealSlurm(tmp_path_factory.mktemp("slurm"))
    (slurm.folder / "state").mkdir()
    settings = slurm.folder / "slurm.conf"
    settings.write_text(SETTINGS.format(folder=slurm.folder, ports=free_ports(3)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(settings))
        key = slurm.folder / "munge.key"
        slurm.ask("mungekey", "--create", f"--keyfile={key}")
        files = [f"--{kind}-file={slurm.folder}/munge.{kind}" for kind in ("pid", "log", "seed")]
        slurm.start(
            "munged", "munged", "-F", "-f", f"--socket={slurm.folder}/munge.socket", f"--key-file={key}", *files
        )
        until(lambda: (slurm.folder / "munge.socket").exists(), slurm.started["munged"])
        slurm.start("slurmctld", "slurmctld", "-D")
        slurm.node("n1")
        slurm.node("n2")
        try:
            until(slurm.idle, slurm.started["slurmctld"])
            yield slurm
        finally:
            slurm.stop()


@pytest.fixture
def slurm(slurm_daemons: RealSlurm, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[RealSlurm]:
    """Two idle nodes without jobs, before and after; its crews may ask as often as they like."""
    monkeypatch.setattr("salip_exp._engines.slurm._ASK_S", 0.0)
    yield slurm_daemons
    slurm_daemons.ask("scancel", "--me")
    until(lambda: not slurm_daemons.ask("squeue", "--noheader"))
    for node in ("n1", "n2"):
        if slurm_daemons.started[node].poll() is not None:
            slurm_daemons.node(node)
        if "DRAIN" in slurm_daemons.ask("scontrol", "show", "node", node):
            slurm_daemons.ask("scontrol", "update", f"nodename={node}", "state=undrain")
    until(slurm_daemons.idle)


@dataclass
class Places:
    """Where stand-ins work and what they have left."""

    folder: Path

    def command(self, *more: str) -> list[str]:
        return ["-m", "stand_in", str(self.folder), *more]

    def begun(self) -> list[str]:
        """Nodes on which one has begun, once for each time."""
        return sorted(each.name.partition("-")[0] for each in self.folder.glob("*.begun"))

    def done(self) -> list[str]:
        return sorted(each.name.partition("-")[0] for each in self.folder.glob("*.done"))

    def processes(self) -> list[int]:
        return [int(each.name.split("-")[1]) for each in self.folder.glob("*.begun")]

    def go(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    folder = tmp_path / "a place"
    folder.mkdir()
    return Places(folder)


@dataclass
class RealRay:
    """A Ray cluster of this session: a head without room for workers, and two raylets, `n1` and `n2`."""

    cluster: Any
    nodes: dict[str, Any]

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def node_of(self, process: int) -> str:
        """The node whose raylet a process descends from."""
        raylets = {node.all_processes["raylet"][0].process.pid: name for name, node in self.nodes.items()}
        while process not in raylets:
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        return raylets[process]

    def kill(self, name: str) -> None:
        """End a raylet as a power cut would."""
        self.cluster.remove_node(self.nodes.pop(name), allow_graceful=False)


@pytest.fixture
def ray_cluster() -> Iterator[RealRay]:
    """Two nodes with four places for workers each; gone after the test."""
    utils = pytest.importorskip("ray.cluster_utils")
    import ray

    cluster = utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        yield RealRay(cluster, {name: cluster.add_node(num_cpus=4) for name in ("n1", "n2")})
    finally:
        ray.shutdown()
        cluster.shutdown()
