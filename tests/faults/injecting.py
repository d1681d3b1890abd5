"""A kill and an error at single writes, renames, fsyncs and opens of a run, a study and a training.

python tests/faults/injecting.py [--every 1] [--faults kill ENOSPC EIO EACCES] [--minutes 600] [run tune train]

Calls on what lies below the output and the cache folder count, of the whole command. After each fault the same command
is given again (a run that is unfinished with resume=true), and its results are compared with those that nobody
disturbed. A command that ends by an error must do so with exit code 6 and one line, and say resume=true only where that
continues. Needs a C compiler: the shim is injecting.c.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
FAULTS = ("kill", "ENOSPC", "EIO", "EACCES")
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


def soak() -> Any:
    """The module beside this one, for what it compares."""
    spec = importlib.util.spec_from_file_location("soak", HERE / "soak.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["soak"] = module
    spec.loader.exec_module(module)
    return module


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
        found = SOAK.run_results(place / "run")
        return found | {"page": (place / "run" / "report.html").exists(), **drafts(place)}
    if name == "tune":
        return SOAK.of_study(place) | {"page": (place / "study" / "study.html").exists(), **drafts(place)}
    report = json.loads((place / "training" / "training.json").read_text())
    kept = {key: report[key] for key in ("key", "n", "groups", "epochs", "best_epoch", "val_dice", "weights_sha256")}
    return {**kept, **SOAK.run_results(place / "training" / "test"), **drafts(place)}


def drafts(place: Path) -> dict[str, Any]:
    """Drafts left in output folders."""
    left = [path.name for path in place.rglob("*.tmp") if "cache" not in path.relative_to(place).parts]
    return {"drafts": left}


def command(name: str, place: Path, number: int, fault: int, more: tuple[str, ...] = ()) -> tuple[int, str]:
    """Run a part with a fault at a call (-1: none); exit code (negative: of a signal), and what it said on stderr."""
    said = place / "said.txt"
    said.unlink(missing_ok=True)
    child = os.fork()
    if not child:
        code = 99
        try:
            os.chdir(place)
            os.environ["SALIP_CACHE"] = str(place / "cache")
            handle = os.open(said, os.O_WRONLY | os.O_CREAT)
            os.dup2(handle, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.argv = ["salip-exp", *PARTS[name], *more]
            SHIM.inject(f"{place}/".encode() if number != -2 else b"", number, fault)
            CLI.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 99
        finally:
            if number == -1:
                (place.parent / f"{name}.calls").write_text(str(SHIM.injected_calls()))
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said.read_text() if said.exists() else ""


def complaints(name: str, place: Path, code: int, said: str, fault: int) -> Iterator[str]:
    """What is wrong with how a disturbed command ended."""
    ended = {0, -signal.SIGKILL} if not fault else {0, 6}
    if code not in ended:
        yield f"exit code {code}: {said.strip()[-300:]}"
    if "Traceback" in said:
        yield "a traceback"
    if "resume=true continues" in said and not (name == "run" and is_unfinished(place / "run")):
        yield "it says that resume=true continues"


def disturbed(name: str, place: Path, number: int, fault: int, whole: dict[str, Any]) -> list[str]:
    """Inject one fault, give the command again, and compare; what is wrong."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    code, said = command(name, place, number, fault)
    wrong = list(complaints(name, place, code, said, fault))
    if code and not (name == "run" and is_complete(place / "run")):
        more = ("resume=true",) if name == "run" and is_unfinished(place / "run") else ()
        code, said = command(name, place, -2, 0, more)
        wrong += [f"then exit code {code}: {said.strip()[-300:]}"] if code else []
    try:
        found = results(name, place)
    except (OSError, ValueError, KeyError) as error:
        return [*wrong, f"{type(error).__name__}: {error}"]
    return wrong + SOAK.differences(whole, found)


def main() -> int:
    """Inject as told, and print what came out; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=list(PARTS), choices=[*PARTS, []])
    parser.add_argument("--every", type=int, default=1, help="take every so many-th call")
    parser.add_argument("--first", type=int, default=0, help="the first call to take")
    parser.add_argument("--faults", nargs="*", default=list(FAULTS), choices=FAULTS)
    parser.add_argument("--minutes", type=float, default=600)
    told, deadline, bad = parser.parse_args(), 0.0, 0
    deadline = time.monotonic() + 60 * told.minutes
    with tempfile.TemporaryDirectory(prefix="salip_exp-inject-") as home:
        pictures(Path(home) / "data")
        for name in told.parts:
            place = Path(home) / "whole"
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            code, said = command(name, place, -1, 0)
            assert code == 0, said
            calls, whole = int((Path(home) / f"{name}.calls").read_text()), results(name, place)
            count: Counter[str] = Counter()
            for number in range(told.first, calls, told.every):
                for fault in told.faults:
                    if time.monotonic() > deadline:
                        break
                    wrong = disturbed(name, Path(home) / "place", number, getattr(errno, fault, 0), whole)
                    count.update([fault, *(["wrong"] if wrong else [])])
                    for each in wrong:
                        print(f"{name}, {fault} at call {number}: {each}", flush=True)
            done = ", ".join(f"{count[fault]} {fault}" for fault in told.faults)
            print(f"{name}: {calls} calls; injected {done}; {count['wrong']} of them left a difference", flush=True)
            bad += count["wrong"]
    return int(bad > 0)


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
    SOAK = soak()
    import torch

    from salip_exp import cli as CLI
    from salip_exp._commands import run, train, tune  # noqa: F401  (imported once, for all forks)
    from salip_exp._settings.folders import is_complete, is_unfinished

    torch.set_num_threads(1)
    sys.exit(main())
