"""SIGKILL at random moments, again and again, and every result compared with one that nobody disturbed: `make soak`.

python tests/faults/soak.py [--kills 20] [--minutes 30] [--seed 0] [run tune train table6]

Each part is a real command on tiny phantoms with the embedded networks and the cache on disk. It is killed after a
random share of the time that it takes when it is left alone, continued by the same command, killed again till it ends;
then it begins anew in another folder with an empty cache, until there were so many kills. Commands run in forks of
this process, which has imported everything, so that kills fall on the work and not on imports.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from salip_exp import cli
from salip_exp._settings.folders import is_unfinished

QUICK = ("progress=false", "device=cpu", "threads=1", "score.resamples=100")
TABLES = {"tables", "data", "name"}


@dataclass(frozen=True)
class Part:
    """A command, and what of its results must not depend on how often it was killed.

    Attributes:
        arguments: of the command line.
        results: from the folder that it ran in: what is compared, by name.
        resumes: whether a part that was killed needs resume=true to go on.
    """

    arguments: tuple[str, ...]
    results: Callable[[Path], dict[str, Any]]
    resumes: bool


def of_run(place: Path) -> dict[str, Any]:
    """Rows without seconds, summary, and predictions of a run."""
    return run_results(place / "run")


def run_results(run: Path) -> dict[str, Any]:
    with (run / "cases.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    # Phantoms lie in the cache of each round: where a case was read from is another place.
    kept = [key for key in table[0] if not key.startswith("seconds_") and key not in ("image", "mask")]
    rows = {row["case_id"]: {key: row[key] for key in kept} for row in table}
    pictures = {path.name: path.read_bytes() for path in sorted((run / "predictions").glob("[!.]*.png"))}
    return {**rows, "summary": (run / "summary.json").read_text(), **pictures}


def of_study(place: Path) -> dict[str, Any]:
    """Trials, winner and what follows from them."""
    study = json.loads((place / "study" / "study.json").read_text())
    with (place / "study" / "trials.csv").open(encoding="utf-8", newline="") as stream:
        trials = {f"trial {row['trial']}": row for row in csv.DictReader(stream)}
    names = ("study", "images", "best", "winner", "default", "objectives", "space", "trials", "draws")
    tuned = (place / "study" / "tuned.yaml").read_text().split("version:")[1]
    return {**trials, **{name: study[name] for name in names}, "tuned.yaml": tuned}


def of_training(place: Path) -> dict[str, Any]:
    """What was learnt, and the run over what was held out."""
    report = json.loads((place / "training" / "training.json").read_text())
    names = ("key", "n", "groups", "epochs", "best_epoch", "val_dice", "weights_sha256")
    return {**{name: report[name] for name in names}, **run_results(place / "training" / "test")}


def of_experiment(place: Path) -> dict[str, Any]:
    """The table, and every cell's rows and predictions."""
    study = json.loads(next((place / "outputs" / "experiments").glob("*/study.json")).read_text())
    cells = sorted((place / "outputs" / "cells").glob("*/*/*/summary.json"))
    found = {str(path.parent.relative_to(place)): run_results(path.parent) for path in cells}
    return {**{name: study[name] for name in TABLES}, **found}


PARTS = {
    "run": Part(
        ("dataset=phantom_hc18", "dataset.phantom.n=16", "sam.points_per_side=8", "figures=worst:1",
         "hydra.run.dir=run", *QUICK), of_run, True,
    ),
    "tune": Part(
        ("task=tune", "dataset=phantom_hc18", "dataset.phantom.n=7", "tuning.n_trials=24", "tuning.draws=1",
         "tuning.space.points_per_side.choices=[4,8]", "hydra.run.dir=study", *QUICK), of_study, False,
    ),
    "train": Part(
        ("task=train", "method=unet", "unet=quick", "unet.epochs=8", "dataset=phantom_hc18", "dataset.phantom.n=12",
         "hydra.run.dir=training", *QUICK), of_training, False,
    ),
    "table6": Part(
        ("+experiment=table6", "dataset.phantom.n=6", "dataset.volume.per_volume=1", "sam.points_per_side=8", *QUICK),
        of_experiment, False,
    ),
}  # fmt: skip


def begin(part: Part, place: Path) -> int:
    """Start or continue a part in a process of its own; its id."""
    more = ("resume=true",) if part.resumes and is_unfinished(place / "run") else ()
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setsid()
        os.chdir(place)
        os.environ["SALIP_CACHE"] = str(place / "cache")
        said = os.open("said.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        sys.argv = ["salip-exp", *part.arguments, *more]
        cli.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 99
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def finish(child: int, place: Path) -> None:
    """Wait for a part's end.

    Raises:
        RuntimeError: it did not end well.
    """
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise RuntimeError(f"exit code {code}:\n{(place / 'said.txt').read_text()[-3000:]}")


def killed_after(child: int, seconds: float) -> bool:
    """Whether a process lived so long, and was killed then."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return False
        time.sleep(0.002)
    os.killpg(os.getpgid(child), signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def disturbed(part: Part, place: Path, span: float, kills: int, rng: random.Random) -> Iterator[float]:
    """Run a part to its end, killed up to so often; yields the second of each kill."""
    for _ in range(kills):
        seconds = rng.uniform(0, span)
        child = begin(part, place)
        if not killed_after(child, seconds):
            finish(child, place)
            return
        yield seconds
    finish(begin(part, place), place)


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of results that are not the same in both."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def soak(name: str, kills: int, deadline: float, rng: random.Random, home: Path) -> bool:
    """Disturb one part until there were so many kills, and print what came out; whether all was the same."""
    part = PARTS[name]
    place = home / name / "undisturbed"
    place.mkdir(parents=True)
    start = time.monotonic()
    finish(begin(part, place), place)
    span = time.monotonic() - start
    whole = part.results(place)
    survived, compared, different, rounds = 0, 0, list[str](), 0
    while survived < kills and time.monotonic() < deadline:
        rounds += 1
        place = home / name / f"round {rounds}"
        place.mkdir()
        survived += sum(1 for _ in disturbed(part, place, span, min(12, kills - survived), rng))
        found = part.results(place)
        compared += len(found)
        different += [f"round {rounds}: {each}" for each in differences(whole, found)]
    print(
        f"{name:<8}{survived:>4} kills survived in {rounds} rounds of {span:.1f} s, {compared} results compared, "
        f"{len(different)} differences{': ' + ', '.join(different[:5]) if different else ''}",
        flush=True,
    )
    return not different


def told_by(arguments: list[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], help="default: all")
    parser.add_argument("--kills", type=int, default=20, help="of each part")
    parser.add_argument("--minutes", type=float, default=30, help="after which no new round begins")
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args(arguments)
    told.parts = told.parts or list(PARTS)
    return told


def main() -> int:
    """Soak the chosen parts; 1 if a result differed."""
    told = told_by()
    torch.set_num_threads(1)
    deadline, rng = time.monotonic() + 60 * told.minutes, random.Random(told.seed)
    with tempfile.TemporaryDirectory(prefix="salip_exp-soak-") as home:
        fine = [soak(name, told.kills, deadline, rng, Path(home)) for name in told.parts]
    return int(not all(fine))


if __name__ == "__main__":
    sys.exit(main())
