"""One run from its configuration to its run folder: claim, read data, load networks, loop over cases, sum up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from salip_exp.cache.store import Store, open_store
from salip_exp.config import Config, DatasetConfig
from salip_exp.data.case import Dataset
from salip_exp.errors import DataError, EnvironmentFault, TooManyFailures
from salip_exp.evaluation.scores import scores
from salip_exp.methods.base import Method
from salip_exp.methods.traits import METHODS
from salip_exp.runs.cases import Session, run_cases
from salip_exp.runs.folder import STATUS, State, claim, write_status
from salip_exp.runs.identity import recipe
from salip_exp.runs.manifest import Engine, closing, opening, write_config, write_json, write_manifest
from salip_exp.runs.process import stoppable
from salip_exp.runs.records import CaseRecord
from salip_exp.runs.summary import summarise
from salip_exp.runs.tables import write_tables
from salip_exp.timing import Stages
from salip_exp.tracking.tracker import Tracker, tracking

if TYPE_CHECKING:
    from salip_exp.networks.clip import LoadedClip
    from salip_exp.networks.sam import LoadedSam
    from salip_exp.networks.unet import LoadedUnet
    from salip_exp.runs.lab import Loaded


Prepare = Callable[[Config, Stages], tuple[Dataset, Engine]]


def prepare(
    config: Config,
    stages: Stages,
    store: Store | None = None,
    loaded: Loaded | None = None,
    opened: Callable[[DatasetConfig, int], Dataset] | None = None,
) -> tuple[Dataset, Engine]:
    """Open the configured data set, then load the networks that the configured method needs.

    Args:
        config: of the run.
        stages: count what it takes.
        store: None opens the configured one.
        loaded: networks that are there already.
        opened: gives the data set; None reads it from its files.

    Raises:
        DataError, WeightsError, ConfigError, EnvironmentFault: what is missing or wrong.
    """
    from salip_exp.data.registry import open_dataset

    if store is None:  # first: a folder that cannot be written must not cost a model's loading
        store = open_store(config.cache)
    with stages("data"):
        dataset = (opened or open_dataset)(config.dataset, config.seed)
        if not dataset.refs:
            raise DataError(f"{dataset.name}: none of {dataset.found} images is left to run on; see its exclusions")
    with stages("models"):
        return dataset, load_engine(config, store, loaded)


@dataclass(frozen=True)
class Networks:
    """The networks that a method needs, None for one it does not, with its text and where they run."""

    sam: LoadedSam | None
    clip: LoadedClip | None
    sentences: Sequence[str]
    device: str
    unet: LoadedUnet | None = None

    @property
    def names(self) -> dict[str, tuple[str, str]]:
        """Name and SHA-256 of the weights by network."""
        loaded = {"sam": self.sam, "clip": self.clip, "unet": self.unet}
        return {network: (each.name, each.sha256) for network, each in loaded.items() if each is not None}


def load_networks(config: Config, loaded: Loaded | None = None) -> Networks:
    """The networks that the configured method needs, and no others; those in `loaded` are not read again."""
    from salip_exp.cascade.sentences import read_sentences
    from salip_exp.networks.device import pick_device
    from salip_exp.runs.lab import Loaded, loaded_unet
    from salip_exp.runs.process import use_threads

    use_threads(config.threads)
    device = pick_device(config.device)
    traits = METHODS[config.method]
    sentences = read_sentences(config.vdt) if traits.clip else []
    loaded = Loaded() if loaded is None else loaded
    sam = loaded.sam(config, device) if traits.sam else None
    clip = loaded.clip(config, device) if traits.clip else None
    unet = loaded_unet(config, device) if traits.trained else None
    return Networks(sam, clip, sentences, device.type, unet)


def load_engine(config: Config, store: Store, loaded: Loaded | None = None) -> Engine:
    """The configured method around its networks; those in `loaded` are not read again."""
    from salip_exp.methods.registry import build_method
    from salip_exp.networks.device import arithmetic_of

    networks = load_networks(config, loaded)
    method = build_method(config, networks.sam, networks.clip, networks.sentences, store, networks.unet)
    arithmetic = arithmetic_of(config.precision, config.compile)
    return Engine(method, networks.names, networks.sentences, networks.device, store, arithmetic)


def run(config: Config, folder: Path, command: Sequence[str], prepare: Prepare = prepare) -> int:
    """Run the configured method over the configured data set and fill the run folder.

    Every case is on disk when it is finished, so the run can end at any moment and be continued by `resume=true`.

    Args:
        config: checked.
        folder: the run folder; made if absent.
        command: what to type to get this run again.
        prepare: gives the data set and the method; the default loads what is configured.

    Returns:
        0, or 130 or 143 when a signal ended the run after the case at hand.

    Raises:
        TooManyFailures: more cases failed than `max_failed` allows; everything is written nevertheless.
        EnvironmentFault: the folder is in use, holds another run, or cannot be written.
        DataError, WeightsError, ConfigError: from `prepare`.
    """
    with claim(folder):
        if not config.resume and any((folder / "cases").glob("*.json")):
            raise EnvironmentFault(
                f"{folder} holds a run already: resume=true continues it, hydra.run.dir=DIR starts anew"
            )
        write_status(folder, State.running)
        with tracking(config, folder) as tracker:
            try:
                records, code = _conduct(config, folder, command, prepare, tracker)
            except BaseException as error:
                _leave(folder, error)
                raise
            if code:
                tracker.end(code)
            return code or _verdict(config, folder, records)


def _conduct(
    config: Config, folder: Path, command: Sequence[str], prepare: Prepare, tracker: Tracker
) -> tuple[list[CaseRecord], int]:
    """All of a run inside its claimed folder; the records, and the code of the signal that ended it (0 for none)."""
    from salip_exp.tracking.runs import CaseLog, beginning, results

    scores()  # what another package gives is looked at before networks are loaded
    stages = Stages()
    dataset, engine = prepare(config, stages)
    built = engine.method.counters.to_dict()
    manifest = opening(config, command, dataset, engine)
    write_config(folder, config)
    write_manifest(folder, manifest)
    tracker.tell(beginning(config, folder, manifest))
    mixture = recipe(config, engine.hashes, engine.sentences, engine.device)
    session = Session(config, folder, engine.method, mixture, dataset.name)
    with stages("cases"), stoppable() as stop:
        records = run_cases(session, dataset.refs, stop, CaseLog(tracker))
    if len(records) < len(dataset.refs):
        _interrupted(folder, len(records), len(dataset.refs), stop.code or 0)
        return records, stop.code or 0
    # Before the pictures, which ask the method again; `stages` goes on counting.
    ending = closing(records, session, built, stages, engine.store)
    with stages("results"):
        summary = summarise(records, config, engine.names)
        write_tables(folder, records)
        summary |= _pictures(config, folder, dataset, records, engine.method)
    write_manifest(folder, manifest | ending)
    write_json(folder / "summary.json", summary)
    write_status(folder, State.finished, done=len(records), failed=sum(each.failed for each in records))
    tracker.tell(results(folder, config, dataset, records, engine.method, summary, manifest | ending))
    _present(config, folder, command)
    return records, 0


def _pictures(
    config: Config, folder: Path, dataset: Dataset, records: Sequence[CaseRecord], method: Method
) -> dict[str, list[dict[str, str | float | None]]]:
    """Overlays and strips, by their keys in `summary.json`."""
    from salip_exp.reports.overlays import remembering, write_figures
    from salip_exp.reports.strips import write_strips

    refs = remembering(dataset.refs)
    return {
        "figures": write_figures(folder, refs, records, config.figures, config.seed),
        "strips": write_strips(folder, refs, records, method, config),
    }


def _present(config: Config, folder: Path, command: Sequence[str]) -> None:
    """The run's page, and the table on the terminal."""
    from salip_exp.reports.run_page import write_page
    from salip_exp.reports.terminal import show

    write_page(folder)
    show(folder, config.outputs, command)


def _interrupted(folder: Path, done: int, total: int, code: int) -> None:
    write_status(folder, State.interrupted, done=done, total=total, exit_code=code)
    sys.stderr.write(
        f"stopped after {done} of {total} cases, in {folder}; the same command with resume=true continues\n"
    )


def _leave(folder: Path, error: BaseException) -> None:
    """Say how the run ended; one that never began leaves nothing to continue."""
    if not (folder / "config.yaml").exists():
        (folder / STATUS).unlink(missing_ok=True)
        return
    stopped = isinstance(error, KeyboardInterrupt | SystemExit)
    state = State.interrupted if stopped else State.failed
    try:
        write_status(folder, state, message=" ".join(str(error).split()))
    except EnvironmentFault:
        return  # the disk that ended the run may be full for this as well; the error itself is on its way up


def _verdict(config: Config, folder: Path, records: Sequence[CaseRecord]) -> int:
    failed = sum(record.failed for record in records)
    if failed > config.max_failed * len(records):
        first = next(record for record in records if record.failed)
        raise TooManyFailures(
            f"{failed} of {len(records)} cases failed, more than max_failed={config.max_failed} allows, the first "
            f"being {first.case_id} ({first.message}); all results are in {folder}"
        )
    return 0
