"""A kill and an error at every single write, rename, fsync and open of a run, a study and a training: `make inject`.

python tests/faults/injecting.py [run tune train] [--faults kill error EIO] [--every 1] [--log FILE] [--minutes 600]

Calls on what lies below the output and the cache folder count, of the whole command. `error` is the one that fits the
call: EACCES and EIO by turns for an open, ENOSPC and EIO for a write or a rename, EIO for an fsync; any other may be
named. A kill is the state of all files at that moment (states.py), `SIGKILL` a real one. After each fault the same
command is given again (a run that is unfinished with resume=true), and its results are compared with those that nobody
disturbed. A command that ends by an error must do so with exit code 6 and one line, and say resume=true only where that
continues. With --log what was done is noted there, and not done again. Needs a C compiler: the shim is injecting.c.

Commands run in forks of this process, which has imported everything. What Hydra composed once, of the program's own
files and the same arguments, is not composed again; everything else is the command as it is typed.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import importlib
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
ERRORS = {"open": ("EACCES", "EIO"), "write": ("ENOSPC", "EIO"), "rename": ("ENOSPC", "EIO"), "fsync": ("EIO",)}
FAULTS = ("kill", "SIGKILL", "error", "ENOSPC", "EIO", "EACCES")
STOP, NOWHERE = -1, -1
QUICK = (
    "sam=tiny", "clip=tiny", "sam.points_per_side=4", "dataset.resize.side=64", "figures=worst:1", "device=cpu",
    "score.resamples=100", "progress=false", "threads=1", "dataset=folder", 'vdt.sentences=["a bright oval"]',
    "dataset.root=../data", "cache.folder=cache",
)  # fmt: skip
PARTS = {
    "run": ("hydra.run.dir=run", *QUICK),
    "tune": ("task=tune", "tuning.n_trials=3", "tuning.images=2", "tuning.draws=0", "hydra.run.dir=study",
             "tuning.space.points_per_side.choices=[2,4]", *QUICK),
    "train": ("task=train", "method=unet", "unet=quick", "unet.epochs=2", "unet.side=32", "unet.channels=[4,8]",
              "unet.epoch_images=4", "unet.batch=2", "hydra.run.dir=training", *QUICK),
}  # fmt: skip


def pictures(root: Path) -> None:
    """Four bright ovals with their masks."""
    for number in range(4):
        rows, columns = np.mgrid[:64, :64]
        mask = ((rows - 28 - number) / 18) ** 2 + ((columns - 34 + number) / 13) ** 2 <= 1
        noise = np.random.default_rng(number).integers(0, 40, (64, 64))
        for kind, name, pixels in (("images", "", noise + 170 * mask), ("masks", "_mask", 255 * mask)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(root / kind / f"c{number}{name}.png")


def built(folder: Path) -> Path | None:
    """The shim; None without a compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "injecting.so"
    options = ["-shared", "-fPIC", "-O1", "-o", str(library), str(HERE / "injecting.c"), "-ldl"]
    subprocess.run([compiler, *options], check=True)
    return library


def results(name: str, place: Path) -> dict[str, Any]:
    """What must not depend on faults."""
    if name == "run":
        found = soak.run_results(place / "run")
        return found | {"page": (place / "run" / "report.html").exists(), **drafts(place)}
    if name == "tune":
        return soak.of_study(place) | {"page": (place / "study" / "study.html").exists(), **drafts(place)}
    return soak.of_training(place) | drafts(place)


def drafts(place: Path) -> dict[str, Any]:
    """Drafts left in output folders."""
    left = [path.name for path in place.rglob("*.tmp") if "cache" not in path.relative_to(place).parts]
    return {"drafts": left}


class Composed:
    """What Hydra made of the program's own files and some arguments, by all that it depends on."""

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], bytes] = {}

    def install(self) -> None:
        """Ask Hydra only for what is not known."""
        original = ConfigLoaderImpl.load_configuration

        def known(loader: Any, **asked: Any) -> Any:
            key = str(Path.cwd()), *(str(asked[name]) for name in sorted(asked))
            if key not in self.known:
                self.known[key] = pickle.dumps(original(loader, **asked))
            return pickle.loads(self.known[key])

        ConfigLoaderImpl.load_configuration = known

    def learn(self, noted: Path) -> None:
        """Take over what a fork composed, and import what it imported."""
        if noted.exists():
            modules, known = pickle.loads(noted.read_bytes())
            self.known |= known
            for module in modules - set(sys.modules):
                importlib.import_module(module)
            noted.unlink()


def fork(place: Path, arguments: tuple[str, ...], number: int = NOWHERE, fault: int = 0, told: int = NOWHERE) -> int:
    """Begin a command with a fault at one of its calls, in a process of its own; the process."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.chdir(place)
        os.environ["SALIP_CACHE"] = str(place / "cache")
        os.dup2(os.open(place.parent / "said.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["salip-exp", *arguments]
        SHIM.inject(f"{place}/".encode(), ctypes.c_long(number), fault, told)
        cli.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 99
    finally:
        SHIM.inject(b"", ctypes.c_long(NOWHERE), 0, NOWHERE)
        if number == NOWHERE and fault != STOP:
            (place.parent / "noted").write_bytes(pickle.dumps((importable(), COMPOSED.known)))
        os._exit(code)


def importable() -> set[str]:
    """Modules that this process has imported by their names."""
    return {name for name, module in sys.modules.items() if getattr(module, "__spec__", None)}


def command(place: Path, arguments: tuple[str, ...], number: int = NOWHERE, fault: int = 0) -> tuple[int, str]:
    """Run a command to its end; its exit code (negative: of a signal), and what it said on stderr."""
    child = fork(place, arguments, number, fault)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    COMPOSED.learn(place.parent / "noted")
    return code, (place.parent / "said.txt").read_text()


class Part:
    """A command, its calls, and what it comes to when nobody disturbs it."""

    def __init__(self, name: str, place: Path) -> None:
        self.name, self.place, self.states = name, place, States(place)
        self._whole()  # a first time, so that everything is imported by then
        self.whole = self._whole()
        self.calls: list[str] = []
        self.kills: list[Any] = []
        self._stopped_at_each()

    def _whole(self) -> dict[str, Any]:
        self._empty()
        code, said = command(self.place, PARTS[self.name])
        assert code == 0, said
        return results(self.name, self.place)

    def _empty(self) -> None:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()

    def _stopped_at_each(self) -> None:
        """Note every call, and the files as a kill there would leave them."""
        self._empty()
        told = self.place.parent / "calls.txt"
        handle = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for _ in stops(fork(self.place, PARTS[self.name], NOWHERE, STOP, handle)):
            self.kills.append(self.states.now())
        os.close(handle)
        self.calls = [line.replace(f"{self.place}/", "") for line in told.read_text().splitlines()]
        assert len(self.calls) == len(self.kills)

    def faults(self, kind: str, number: int) -> str:
        """Which fault is meant at a call."""
        fitting = ERRORS[self.calls[number].split()[0]]
        return fitting[number % len(fitting)] if kind == "error" else kind

    def disturbed(self, number: int, fault: str) -> list[str]:
        """Inject one fault, give the command again, and compare; what is wrong."""
        if fault == "kill":
            self.states.restore(self.kills[number])
            return self._continued([], True)
        self._empty()
        code, said = command(self.place, PARTS[self.name], number, getattr(errno, fault, 0))
        return self._continued(list(self._complaints(code, said, fault)), code != 0)

    def _complaints(self, code: int, said: str, fault: str) -> Iterator[str]:
        """What is wrong with how a disturbed command ended."""
        if code not in ({-signal.SIGKILL} if fault == "SIGKILL" else {0, 6}):
            yield f"exit code {code}: {said.strip()[-300:]}"
        if "Traceback" in said:
            yield f"a traceback: {said.strip()[-300:]}"
        if "resume=true continues" in said and not self._is_unfinished():
            yield "it says that resume=true continues"

    def _is_unfinished(self) -> bool:
        return self.name == "run" and is_unfinished(self.place / "run")

    def _continued(self, wrong: list[str], ended_early: bool) -> list[str]:
        if ended_early and not (self.name == "run" and is_complete(self.place / "run")):
            more = ("resume=true",) if self._is_unfinished() else ()
            code, said = command(self.place, (*PARTS[self.name], *more))
            wrong += [f"then exit code {code}: {said.strip()[-300:]}"] if code else []
        try:
            found = results(self.name, self.place)
        except (OSError, ValueError, KeyError) as error:
            return [*wrong, f"{type(error).__name__}: {error}"]
        return wrong + soak.differences(self.whole, found)


class Log:
    """What was injected so far, a line each; kept in a file where one is told."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path is not None and path.exists() else []
        self.done: dict[tuple[str, str, int], list[str]] = {}
        for line in lines:
            noted = json.loads(line)
            self.done[noted["part"], noted["fault"], noted["call"]] = noted["wrong"]

    def note(self, part: Part, fault: str, number: int, wrong: list[str]) -> None:
        """One injection, and what was wrong then."""
        self.done[part.name, fault, number] = wrong
        line = {"part": part.name, "fault": fault, "call": number, "what": part.calls[number], "wrong": wrong}
        if self.path is not None:
            with self.path.open("a") as stream:
                stream.write(json.dumps(line) + "\n")
        for each in wrong:
            print(f"{part.name}, {fault} at call {number} ({part.calls[number]}): {each}", flush=True)

    def summary(self, part: Part) -> str:
        """How many faults of a part, and how many of them left something wrong."""
        wrongs = {(fault, number): wrong for (name, fault, number), wrong in self.done.items() if name == part.name}
        count = Counter(fault for fault, _ in wrongs)
        done = ", ".join(f"{n} {fault}" for fault, n in sorted(count.items()))
        states = len(set(map(alike, part.kills)))
        bad = sum(map(bool, wrongs.values()))
        return (
            f"{part.name}: {len(part.calls)} calls ({states} states of the files); injected {done or 'nothing'}; "
            f"{bad} of them left a difference"
        )


def inject(part: Part, kind: str, numbers: range, log: Log, late: Callable[[], bool]) -> None:
    """One kind of fault at each of the calls, but those that are done; equal states of files are tried once."""
    seen: dict[Any, list[str]] = {}
    for number in numbers:
        fault = part.faults(kind, number)
        if (part.name, fault, number) in log.done:
            continue
        if late():
            return
        state = alike(part.kills[number]) if kind == "kill" else number
        if state not in seen:
            seen[state] = part.disturbed(number, fault)
        log.note(part, fault, number, seen[state])


def told_by(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--every", type=int, default=1, help="take every so many-th call")
    parser.add_argument("--first", type=int, default=0, help="the first call to take")
    parser.add_argument("--faults", nargs="*", default=["kill", "error"], choices=FAULTS)
    parser.add_argument("--minutes", type=float, default=600)
    parser.add_argument("--log", type=Path, help="a file that keeps what was done")
    told = parser.parse_args(arguments)
    told.parts = told.parts or list(PARTS)
    return told


def main() -> int:
    """Inject as told, and print what came out; 1 if anything was wrong."""
    told = told_by()
    deadline, log = time.monotonic() + 60 * told.minutes, Log(told.log)
    with tempfile.TemporaryDirectory(prefix="salip_exp-inject-", dir=memory()) as home:
        pictures(Path(home) / "data")
        for name in told.parts:
            part = Part(name, Path(home) / "place")
            for kind in told.faults:
                numbers = range(told.first, len(part.calls), told.every)
                inject(part, kind, numbers, log, lambda: time.monotonic() > deadline)
            print(log.summary(part), flush=True)
    return int(any(log.done.values()))


def memory() -> str | None:
    """A file system in memory, where there is one: a disk's fsync takes most of the time."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    if "SALIP_SHIM" not in os.environ:
        with tempfile.TemporaryDirectory(prefix="salip_exp-shim-") as folder:
            library = built(Path(folder))
            if library is None:
                sys.exit("there is no C compiler")
            environment = os.environ | {"SALIP_SHIM": str(library), "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
            sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)
    SHIM = ctypes.CDLL(os.environ["SALIP_SHIM"])
    os.environ.pop("LD_PRELOAD")  # git and other children need none
    import soak
    import torch
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from states import States, alike, stops

    from salip_exp import cli
    from salip_exp._commands import run, train, tune  # noqa: F401  (imported once, for all forks)
    from salip_exp._settings.folders import is_complete, is_unfinished

    torch.set_num_threads(1)
    COMPOSED = Composed()
    COMPOSED.install()
    sys.exit(main())
