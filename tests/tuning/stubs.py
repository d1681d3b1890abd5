"""A study on stub networks and small pictures; also a program, for tests that kill it or run it several times.

python stubs.py study FOLDER TRIALS
python stubs.py killed FOLDER TRIALS TIMES SEED
python stubs.py together FOLDER TRIALS PROCESSES KILLED STORAGE
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import torch

from salip_exp._reports.study_page import StudyPage
from salip_exp._runs.lab import Lab, Loaded
from salip_exp._tuning.database import Database
from salip_exp._tuning.tune import study_in
from salip_exp.config import (
    AreaSpace,
    CacheConfig,
    ClipConfig,
    Config,
    DatasetConfig,
    RealSpace,
    SamConfig,
    Sampler,
    ScoreConfig,
    SpaceConfig,
    Task,
    TuningConfig,
    VdtConfig,
    WholeSpace,
)
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam

CPU = torch.device("cpu")
SENTENCES = ["a bright oval", "two dark wings"]
IMAGES = 9
SPACE = SpaceConfig(
    points_per_side=WholeSpace(choices=[2, 4]),
    pred_iou_thresh=RealSpace(low=0.0, high=0.7),
    stability_score_thresh=RealSpace(choices=[0.0, 0.3, 0.6]),
    box_nms_thresh=RealSpace(low=0.5, high=0.95),
    area=AreaSpace(),
)


def config(**tuning: Any) -> Config:
    """A study of five of nine images."""
    return Config(
        task=Task.tune,
        dataset=DatasetConfig(name="stub", layout="folder", k=1),
        sam=SamConfig(
            name="stub", points_per_side=4, pred_iou_thresh=0.1, stability_score_thresh=0.2, box_nms_thresh=0.9
        ),
        clip=ClipConfig(name="stub"),
        vdt=VdtConfig(name="stub"),
        score=ScoreConfig(resamples=100),
        progress=False,
        tuning=TuningConfig(**({"sampler": Sampler.random, "space": SPACE, "draws": 0, "held_out": 2} | tuning)),
    )


def cases() -> list[Case]:
    """Smooth random pictures of 48 x 64, in three groups."""
    rng = np.random.default_rng(1)
    found = []
    for i in range(IMAGES):
        image = np.kron(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), np.ones((8, 8, 1), np.uint8))
        target = np.zeros((48, 64), bool)
        target[rng.integers(4, 16) : 40, rng.integers(4, 20) : 50] = True
        found.append(Case(f"case {i}", "stub", f"group {i % 3}", image, target, None, str(i)))
    return found


def dataset(some: list[Case]) -> Dataset:
    refs = [CaseRef(each.case_id, each.group, each.subject, lambda each=each: each) for each in some]  # type: ignore[misc]
    return Dataset("stub", refs, [], len(some))


class StubLab(Lab):
    """Lends pictures, and networks at hand; the store is the configured one unless another is given."""

    def __init__(self, sam: Any, clip: Any, some: list[Case] | None = None, store: Any = None) -> None:
        super().__init__()
        self.pictures, self.kept = dataset(cases() if some is None else some), store
        loaded = LoadedSam(sam, "stub", "0", CPU), LoadedClip(clip, "stub", "1", CPU)
        self.lent = Loaded(*loaded, None, SENTENCES, "cpu", "fp32")

    def dataset(self, config: Config) -> Dataset:
        return self.pictures

    def loaded(self, config: Config) -> Loaded:
        return self.lent

    def store(self, config: CacheConfig) -> Any:
        return super().store(config) if self.kept is None else self.kept


def blob_networks() -> tuple[Any, Any]:
    """Those of the fixtures blob_sam and random_clip, for a process that is no test."""
    spec = importlib.util.spec_from_file_location("shared_stubs", Path(__file__).parents[1] / "conftest.py")
    assert spec is not None and spec.loader is not None
    shared = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shared)
    return shared.make_blob_sam(), shared.make_random_clip()


def study(folder: Path, trials: int, storage: str | None = None, outputs: str = "outputs") -> int:
    """One process at work on the study in a folder, or on a shared database."""
    torch.set_num_threads(1)
    chosen = config(n_trials=trials, storage=storage, grace_s=4.0 if storage else 60.0)
    chosen.cache = CacheConfig(folder=str(folder.parent / "cache"))
    chosen.outputs = outputs
    with redirect_stdout(io.StringIO()):
        return study_in(chosen, folder, StubLab(*blob_networks()), [StudyPage()]).code


def forked(work: Callable[[], int]) -> int:
    """A child process, which needs no second import of torch; its id."""
    child = os.fork()
    if not child:
        code = 99
        try:
            code = work()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return child


def finished(url: str) -> int:
    """How many trials of a database are finished; 0 while there is none."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            query = "SELECT COUNT(*) FROM trials WHERE state IN ('COMPLETE', 'FAIL')"
            return int(connection.execute(sqlalchemy.text(query)).scalar_one())
    except sqlalchemy.exc.SQLAlchemyError:
        return 0
    finally:
        engine.dispose()


def doomed(work: Callable[[], int], trials: int, seconds: float) -> Callable[[], int]:
    """Work whose process dies after so many trials and so many seconds of its own work, in the middle of anything."""
    finish, left = Database.finish, list(range(trials))

    def counted(self: Database, *what: Any) -> None:
        finish(self, *what)
        if not left:  # a quick trial more, on its last few milliseconds
            return
        left.pop()
        if not left:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)  # the kernel ends it; Python hears nothing
            signal.setitimer(signal.ITIMER_PROF, seconds)

    def begin() -> int:
        Database.finish = counted  # type: ignore[method-assign]
        return work()

    return begin


def death(child: int) -> bool:
    """Wait for a child; whether it was killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGPROF


def killed(folder: Path, trials: int, times: int, seed: int) -> int:
    """Kill a study in its folder again and again, then let it end; prints how far it was each time."""
    rng, url = random.Random(seed), f"sqlite:///{folder / 'study.db'}"
    folder.mkdir(parents=True)
    reached = []
    for _ in range(times):
        child = forked(doomed(lambda: study(folder, trials), trials // (times + 3), 0.03 * rng.random()))
        reached.append(finished(url) if death(child) else None)
    print(json.dumps(reached))
    return os.waitstatus_to_exitcode(os.waitpid(forked(lambda: study(folder, trials)), 0)[1])


def together(folder: Path, trials: int, n: int, kill: int, storage: str) -> int:
    """Several studies with folders of their own on one database, some of them killed on the way; prints which."""

    def work(place: Path) -> Callable[[], int]:
        return lambda: study(place, trials, storage)

    places = [folder / f"worker {i}" for i in range(n)]
    dying = [doomed(work(place), 3, 0.03 * random.Random(i).random()) for i, place in enumerate(places[:kill])]
    children = [forked(each) for each in dying]
    ended = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while kill and not finished(storage) and not os.waitid(os.P_ALL, 0, ended):  # so that some of the trials are theirs
        time.sleep(0.01)
    children += [forked(work(place)) for place in places[kill:]]
    print(json.dumps([death(child) for child in children[:kill]]))
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children[kill:])


if __name__ == "__main__":
    role, place, *rest = sys.argv[1:]
    if role == "study":
        sys.exit(study(Path(place), int(rest[0])))
    if role == "killed":
        sys.exit(killed(Path(place), *map(int, rest)))
    sys.exit(together(Path(place), *map(int, rest[:3]), rest[3]))
