"""What a run reads: its text, the weights of its networks, and every case of its data set."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from salip_exp._checks.finding import Finding, Level, failure, fine, warning
from salip_exp._checks.tokens import Counting, counting_of
from salip_exp._console import progress
from salip_exp._paper import notes_on_text
from salip_exp._wording import many, some
from salip_exp.cascade.sentences import PAIRED, read_sentences
from salip_exp.config import Config
from salip_exp.data._doubts import Doubts
from salip_exp.data._left_out import NAMED, UNSCORED
from salip_exp.data.case import Case, CaseRef, Dataset
from salip_exp.data.datasets import open_dataset
from salip_exp.data.loading import NOT_ON_SIDE
from salip_exp.data.stress import stress_of
from salip_exp.errors import (
    CaseError,
    ConfigError,
    DataError,
    SalipError,
    VanishedTarget,
    WeightsError,
)
from salip_exp.methods.traits import METHODS, Chooser
from salip_exp.networks._hub import located
from salip_exp.networks.registry import Entry, entry_of
from salip_exp.networks.weights import location, obtain

TEXT = "text"


def text_findings(config: Config) -> Iterator[Finding]:
    """A file that cannot be read or is of another shape, and sentences that CLIP would have to cut."""
    if not METHODS[config.method].clip:
        return
    try:
        sentences = read_sentences(config.vdt)
        counting = counting_of(config)
        if counting is not None:
            _require_short(sentences, counting)
    except SalipError as error:
        yield failure(TEXT, error)
        return
    named = f"vdt={config.vdt.name}" if config.vdt.file is None else f"vdt.file={config.vdt.file}"
    within = "whose tokens a run counts, as the tokenizer comes with the weights"
    if counting is not None:
        within = f"each within the {counting.most} tokens of {counting.who}"
    yield fine(TEXT, f"{named}: {many(len(sentences), 'sentence')}, {within}")
    yield from (warning(TEXT, said) for said in notes_on_text(config, sentences))


def _require_short(sentences: Sequence[str], counting: Counting) -> None:
    for number, sentence in enumerate(sentences, 1):
        if not counting.fits(sentence):
            n = counting.count(sentence)
            raise ConfigError(
                f"sentence {number} ('{sentence[:60]}...') has {n} tokens and {counting.who} reads {counting.most}: "
                "shorten or split it"
            )


WEIGHTS = "weights"


def missing(config: Config) -> list[Entry]:
    """Official weights that a run would fetch first."""
    found = []
    for network in METHODS[config.method].networks:
        try:
            entry = entry_of(config, network)
        except SalipError:
            continue
        if entry.url is not None and not entry.users and not location(entry).is_file():
            found.append(entry)
    return found


def weights_findings(config: Config) -> Iterator[Finding]:
    """One finding per network."""
    for network in METHODS[config.method].networks:
        try:
            yield _look(config, entry_of(config, network))
        except SalipError as error:
            yield failure(WEIGHTS, error)


def _look(config: Config, entry: Entry) -> Finding:
    if entry.folder:
        return _look_at_folder(config, entry)
    path = location(entry)
    fetched = config.download and entry.url is not None and not entry.users
    if fetched and not path.is_file():
        raise WeightsError(
            f"{entry.option}: {entry.file} ({(entry.size or 0) / 1e6:,.0f} MB, SHA-256 {entry.sha256}) is not in "
            f"{path.parent}: a run fetches it from {entry.url}, which needs a network; where there is none, put it "
            f"there, or use {entry.network}=tiny"
        )
    try:
        obtain(entry, download=False)
    except WeightsError as error:
        if fetched:
            return warning(WEIGHTS, f"{error}; a run with download=true fetches it again")
        raise
    if entry.users:
        _require_variant(entry, path)
    return fine(WEIGHTS, f"{entry.option}: {path.name}, SHA-256 {entry.sha256[:12]}..., as registered")


def _look_at_folder(config: Config, entry: Entry) -> Finding:
    try:
        found = located(entry, download=False)
    except WeightsError as error:
        if config.download and entry.repo is not None and not entry.users:
            return warning(WEIGHTS, f"{error}; a run with download=true fetches it")
        raise
    return fine(WEIGHTS, f"{entry.option}: {found.path}, SHA-256 {found.sha256[:12]}... over its files")


def _require_variant(entry: Entry, path: Path) -> None:
    """A user's hash says which file is meant, not what is in it."""
    from salip_exp.networks.clip import read_clip
    from salip_exp.networks.sam import read_sam

    (read_sam if entry.network == "sam" else read_clip)(entry, path)


DATA = "data"


@dataclass
class Data:
    """What looking at all cases showed.

    Attributes:
        findings: in the order of the data.
        cases: that can be read.
        pixels: of the largest of them.
    """

    findings: list[Finding] = field(default_factory=list)
    cases: int = 0
    pixels: int = 0


def look(config: Config) -> Data:
    """Open the data set and read every case of it."""
    try:
        dataset = open_dataset(config.dataset, config.seed, config.stress)
    except SalipError as error:
        return Data([failure(DATA, error)])
    seen = _Seen(config)
    with progress(len(dataset.refs), config.progress, "case") as report:
        for ref in dataset.refs:
            seen.read(ref)
            report(f"{len(seen.broken)} cannot be read")
    return Data([*_left_out(dataset), *seen.findings(), _counted(dataset, seen)], seen.cases, seen.pixels)


class _Seen:
    """What is noted while cases go by; none is kept."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.cases = self.pixels = self.volumes = 0
        self.vanished: dict[str, VanishedTarget] = {}
        self.broken: dict[str, CaseError] = {}  # by volume, or by id where there is none
        self.untried: dict[str, int] = defaultdict(int)  # further slices of a broken volume
        self.empty: list[str] = []
        self.untargeted: list[str] = []
        self.notes: dict[str, list[str]] = {"constant image": []}
        self.same: dict[bytes, list[str]] = defaultdict(list)
        self.pairs: dict[Path, Path] = {}
        self.doubts = Doubts(
            config.dataset,
            config.area if METHODS[config.method].chooser is Chooser.clip else None,
            config.vdt.name in PAIRED,
        )

    def read(self, ref: CaseRef) -> None:
        """Read a case as a run does. A volume is one file: where one slice cannot be read, none is tried after it."""
        if ref.volume in self.broken:
            self.untried[str(ref.volume)] += 1
            return
        try:
            self._note(ref.load())
        except VanishedTarget as error:  # of one slice: the others of its volume may be whole
            self.vanished[ref.case_id] = error
        except CaseError as error:
            self.broken[ref.volume or ref.case_id] = error
        except Exception as error:  # as in a run: whatever a case raises is that case's, and is named
            code = "E_OOM" if isinstance(error, MemoryError) else "E_INTERNAL"
            self.broken[ref.volume or ref.case_id] = CaseError(code, f"{type(error).__name__}: {error}")

    def _note(self, case: Case) -> None:
        self.cases += 1
        self.doubts.see(case)
        self.volumes += case.volume is not None
        self.pixels = max(self.pixels, case.image.shape[0] * case.image.shape[1])
        self.same[hashlib.sha256(case.image.tobytes()).digest()].append(case.case_id)
        if case.mask is None:
            self.untargeted.append(case.case_id)
        elif not case.mask.any() and not any(note.startswith(NOT_ON_SIDE) for note in case.notes):
            self.empty.append(case.case_id)
        if case.source is not None and case.source.mask is not None:
            self.pairs[case.source.image] = case.source.mask
        for note in case.notes:
            self.notes.setdefault(note, []).append(case.case_id)

    def findings(self) -> Iterator[Finding]:
        if self.pairs:
            what = many(len(self.pairs), "[image has|images have] a mask")
            yield fine(DATA, f"{what}: {some(list(self._paired()))}")
        for name, error in self.broken.items():
            more = f" (and {many(self.untried[name], 'further slice')})" if self.untried[name] else ""
            yield failure(DATA, DataError(f"{name}{more}: {error.code}: {error}"))
        if self.vanished:
            yield failure(DATA, DataError(_vanishing(self.vanished)))
        if self.config.stress is not None:
            told = stress_of(self.config.stress)
            yield fine(DATA, f"stress={told} makes every image worse, drawn with seed={self.config.seed}: {told.said}")
        if self.config.dataset.absent:
            yield fine(DATA, "dataset.absent=true: every target is empty, as the organ asked for is in no image")
        elif self.empty:
            yield warning(DATA, self._emptiness())
        if self.untargeted:
            what = "[image has no target and gets|images have no target and get] no score"
            yield warning(DATA, f"{many(len(self.untargeted), what)}: {some(self.untargeted)}")
        for doubt in self.doubts.told():
            yield warning(DATA, doubt.said)
        for ids in self.same.values():
            if len(ids) > 1 and ids[0] not in self.notes["constant image"]:
                yield warning(DATA, f"{some(ids)} hold the very same pixels: remove the copies, which count twice")
        for note, ids in self.notes.items():
            if ids:
                yield Finding(_level(note), DATA, f"{many(len(ids), 'image')}: {note} ({some(ids)})")

    def _emptiness(self) -> str:
        """What is said of empty targets, which slices of volumes are expected to have."""
        said = f"{many(len(self.empty), '[target is|targets are]')} empty ({some(self.empty)})"
        policy = f"score.empty_target={self.config.score.empty_target}"
        if self.volumes:
            return f"{said}: scored by {policy}; dataset.volume.skip_empty=true leaves out such slices"
        return f"{said}: scored by {policy}; look at the masks"

    def _paired(self) -> Iterator[str]:
        """What belongs together, each by its path below the root."""
        root = Path(self.config.dataset.root or ".").expanduser()
        for pair in self.pairs.items():
            yield " with ".join(str(each.relative_to(root) if each.is_relative_to(root) else each) for each in pair)


def _named(names: Sequence[str], what: str) -> str:
    return f"{len(names)} {what} ({some(names)})"


def _vanishing(found: Mapping[str, VanishedTarget]) -> str:
    """One case in its own words; of several the first, and the working size that keeps all of them."""
    (name, first), sides = next(iter(found.items())), [each.side for each in found.values()]
    said = f"{name}: {first.code}: {first}"
    if len(found) == 1:
        return said
    remedy = "mode=native" if None in sides else f"side={max(side or 0 for side in sides)}"
    return f"{said} {_named(list(found), 'targets vanish')}: dataset.resize.{remedy} keeps all of them"


def _level(note: str) -> Level:
    """Whether what a reader did is as it should be (an outline filled) or leaves something to look at."""
    harmless = ("outline filled", "windowed from 16 bit", "alpha dropped", "ellipse fitted")
    return Level.ok if note.endswith(harmless) or note.startswith("windowed ") else Level.warn


def _left_out(dataset: Dataset) -> Iterator[Finding]:
    """What a run leaves out: broken links and the like are errors, by name; slices and cases are left out as asked."""
    refused = [each for each in dataset.excluded if each[1].startswith("E_")]
    for name, reason in refused[:NAMED]:
        yield failure(DATA, DataError(f"{name}: {reason}"))
    for each in dataset.left_out:
        if each.kind in ("slices", "choice"):
            yield fine(DATA, each.counted)
        elif each.kind == "refused" and each.n > NAMED:
            yield failure(DATA, DataError(each.said))
        elif each.kind not in ("refused", UNSCORED):  # images without a target are counted as they are read
            yield warning(DATA, each.said)


def _counted(dataset: Dataset, seen: _Seen) -> Finding:
    out = len(dataset.excluded)
    said = f"{dataset.name}: {seen.cases} of {dataset.found} images found can be used, {many(out, '[is|are] left out')}"
    if seen.cases:
        return fine(DATA, said)
    return failure(DATA, DataError(f"{said}: no case is left to run on"))
