"""The record of one case, on disk from the moment the case is finished: the unit in which a run is resumed.

`cases/<name>.json` is written after `candidates/<name>.npy` and `predictions/<name>.png`, so a record that can be read
has both. It is known again by hashes of all that it depends on.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from salip_exp._files import PICTURE, TooLarge, atomic_write, from_json, read_file, read_small, require_kept
from salip_exp._runs._calibration import calibration_hash
from salip_exp._runs._identity import Identity
from salip_exp._settings.folders import File
from salip_exp.cascade.options import origin_of_view
from salip_exp.config import ConfidenceConfig, Config, Doubt, Precision, PromptBoxes, ScoreAt
from salip_exp.data.case import Case, CaseRef
from salip_exp.errors import CaseError
from salip_exp.evaluation.metrics import Overlap
from salip_exp.methods.traits import METHODS
from salip_exp.plugins import versions

_NUMBERS = ("0.1.0", 4)
"""What the numbers of a record mean, in every key: another one only when a release changes numbers.

It holds what 0.1.0 put here, its version and that of its records, so that keys are the same since.
"""

_STAGES = ("method", "sam", "clip", "area", "view", "retrieval", "organ", "prompt")
"""Sections of the configuration that a prediction depends on; paths of weights and data are told by their hashes."""


def safe_name(case_id: str) -> str:
    """A file name (without suffix) for any case id; different ids get different names.

    Ids of plain characters stay as they are. Others are made plain and get a hash after `~`, which no plain id has.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", case_id).strip("-.")[:80]
    if plain and plain == case_id:
        return plain
    return f"{plain or 'case'}~{_digest(case_id.encode('utf-8', 'surrogatepass'))[:10]}"


def fingerprint(case: Case) -> str:
    """SHA-256 over all that a case gives to a method and to its score: pixels, target, spacing, identity."""
    identity = [case.case_id, case.dataset, case.group, case.volume, case.slice, case.spacing, case.image.shape]
    parts = [json.dumps([identity, sorted(case.facts.items())]).encode(), case.image.tobytes()]
    if case.mask is not None:
        parts += [str(case.mask.shape).encode(), case.mask.tobytes()]
    if case.touched is not None:
        parts.append(case.touched.tobytes())
    return _digest(*parts)


def recipe(config: Config, weights: Mapping[str, str], sentences: Sequence[str], device: str) -> str:
    """SHA-256 over all that makes a prediction and its score, other than the case.

    Args:
        config: of the run.
        weights: SHA-256 of the weights of each network in use.
        sentences: as CLIP read them.
        device: type of the device; another one rounds differently.
    """
    settings = {name: _plain(getattr(config, name)) for name in _STAGES}
    for network in ("sam", "clip"):
        settings[network] |= {"weights": None, "sha256": weights.get(network)}
    if config.prompt.boxes is PromptBoxes.target:  # as all were before there was a choice
        del settings["prompt"]["boxes"]
    if not config.clip.min_score:  # as all were before there were detectors
        del settings["clip"]["min_score"]
    settings |= {"unet": weights["unet"]} if "unet" in weights else {}
    settings |= {
        "k": config.dataset.k,
        "empty_target": config.score.empty_target,
        "tolerance_mm": config.score.tolerance_mm,
        "sentences": list(sentences),
        "parts": _parts(config) if sentences else [],
        "device": device,
        "arithmetic": [config.precision, config.compile],
        **({} if config.stress is None else {"stress": config.stress}),
        **({"score_at": str(config.score.at)} if config.score.at is ScoreAt.native else {}),  # the keys of before
        "code": [*_NUMBERS, *METHODS.origin(config.method), *origin_of_view(config.view.kind)],
    }
    if config.clip.precision is Precision.float16 and "clip" in weights:
        settings["scores"] = "float16"  # before 0.2.0 they were float32 of rounded networks
    if config.confidence != replace(ConfidenceConfig(), name=config.confidence.name):
        named = replace(config.confidence, name="", calibration=calibration_hash(config))
        settings["confidence"] = _plain(named)  # by default the keys of before
        if config.confidence.by is Doubt.confidence:
            del settings["confidence"]["by"]
        else:
            settings["flagged_below"] = config.score.poor_below
    if config.repair.enabled:
        settings["repair"] = _plain(replace(config.repair, name=""))
    if config.method == "oracle":
        settings["choice"] = "by the DSC of the union"  # before 0.2.0 region by region
    if config.method == "gt_sam" and config.dataset.k == 2 and config.prompt.boxes is PromptBoxes.target:
        settings["touching"] = "by half"  # before 0.2.0 organs that touch had one box
    return _digest(json.dumps(settings, sort_keys=True).encode())


def run_identity(recipe_hash: str, cases: Sequence[str]) -> Identity:
    """What a run is of: its recipe, the scores that other packages add, and its cases."""
    return Identity("run", {"recipe": recipe_hash, "scores": versions("scores")}, list(cases))


def record_key(identity: Identity, case_hash: str) -> str:
    """The key under which a finished case of a run may be used again."""
    return _digest(*(each.encode() for each in (identity.of["recipe"], case_hash, *identity.of["scores"])))


def data_hash(fingerprints: Iterable[str]) -> str:
    """SHA-256 over the fingerprints of all cases, in order."""
    return _digest(*(each.encode() for each in fingerprints))


def _parts(config: Config) -> list[tuple[str, Any]]:
    """How the sentences are shared out, where there is a set for each ROI."""
    return [(name, asdict(part)) for name, part in config.vdt.parts.items()]


def _plain(section: Any) -> Any:
    return asdict(section) if is_dataclass(section) and not isinstance(section, type) else section


def _digest(*parts: bytes) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "little"))
        whole.update(part)
    return whole.hexdigest()


RECORD_VERSION = 6
"""Version of a case file's form; those from 4 on, which 0.1.0 wrote, are read too."""
_NEW_IN_6 = ("candidates_sha256", "predicted_iou", "image", "mask", "size", "axis")
_SCORES_OF_4 = ("dsc", "iou", "hd95", "nsd", "hc_mm", "hc_error_mm")


@dataclass(frozen=True)
class CaseRecord:
    """All that a run keeps of one case; None is a figure that was not computed.

    Attributes:
        key: what the numbers depend on (`identity.record_key`); empty for failed cases, which are always tried again.
        fingerprint: of the case as read; empty if it could not be read.
        subject: what the case is not independent within (volume, fetus, patient); None in records of 0.1.0.
        status: `ok`, `no_masks`, `all_filtered`, `k_short`, `zero_box`, `empty_gt` or `failed(CODE)`.
        message: why it failed.
        pixels_both, pixels_predicted, pixels_target: what DSC and IoU are made of, and volume-wise DSC adds up.
        scores: by name (`evaluation.scores`); one that is not there was not known when the case was scored. What is
            believed stands among them, `confidence` and `dsc_at_least` (`evaluation._assessment`), where it is known.
        n_pool: candidates proposed.
        n_kept: candidates that CLIP scored.
        selected: ids of the retrieved candidates, best first, with their `similarities` to the text (oracle: IoU).
        boxes: x0 y0 x1 y1 of each, inclusive.
        failure: the stage that lost most (`evaluation.attribution`); None without a target, or without stages.
        roi_recall: share of the ROI found worst that is predicted (`evaluation.attribution`); None without a target,
            and in older records.
        charges: DSC lost by stage, which add up to 1 - DSC; empty where there is no failure, and in older records.
        seconds: by stage.
        work: what the networks did for this case, by counter.
        notes: what the reader did to the case, and which scores of other packages could not be computed.
        png_sha256: of the prediction's file; None for failed cases.
        candidates_sha256: of the candidates' file; None where there are none, and in records before version 6.
        predicted_iou: of the retrieved candidates (`evaluation._confidence`); None for methods without a pool.
        confidence: signals of it by name; empty where there are none, and in older records of cases with a target.
        flag: the stage that is doubted (`evaluation.flags`); None where none is, or where that is not known.
        repaired: the step that made the prediction (`config.RepairStep`); None where it is the method's own.
        before: of what a repaired case had before `confidence` and, with a target, `dsc`, `precision`, `recall` and
            `roi_recall`, as far as they are known; empty of others.
        stress: how the image was made worse, `name:severity`; None: it was not, as in records before there was any.
        image, mask: files that the case was read from, as they were named; None where it does not lie on them.
        size: rows and columns of the image before resizing, and `axis` the plane of a volume (`data.case.Source`).
        version: of the form that the file has.
    """

    key: str
    fingerprint: str
    case_id: str
    dataset: str
    group: str
    volume: str | None
    slice: int | None
    method: str
    status: str
    subject: str | None = None
    message: str | None = None
    pixels_both: int | None = None
    pixels_predicted: int | None = None
    pixels_target: int | None = None
    scores: dict[str, float | None] = field(default_factory=dict)
    n_pool: int | None = None
    n_kept: int | None = None
    selected: list[int] = field(default_factory=list)
    similarities: list[float] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    best_candidate_iou: float | None = None
    failure: str | None = None
    roi_recall: float | None = None
    charges: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    work: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    png_sha256: str | None = None
    candidates_sha256: str | None = None
    predicted_iou: float | None = None
    confidence: dict[str, float] = field(default_factory=dict)
    flag: str | None = None
    repaired: str | None = None
    before: dict[str, float] = field(default_factory=dict)
    stress: str | None = None
    image: str | None = None
    mask: str | None = None
    size: list[int] | None = None
    axis: str | None = None
    version: int = RECORD_VERSION

    @property
    def failed(self) -> bool:
        """Whether the case has no prediction."""
        return self.status.startswith("failed")

    @property
    def name(self) -> str:
        """File name of the case, without suffix."""
        return safe_name(self.case_id)

    @property
    def dsc(self) -> float | None:
        """The score that cases are ranked and compared by."""
        return self.scores.get("dsc")

    def believed(self, measure: str) -> float | None:
        """How good it is believed to be, by a measure of confidence; None where that was not taken."""
        if measure == "predicted_iou":
            return self.predicted_iou
        return self.scores.get(measure) if measure == "confidence" else self.confidence.get(measure)

    @property
    def overlap(self) -> Overlap | None:
        """Pixel counts, or None for a case without a score."""
        counts = (self.pixels_both, self.pixels_predicted, self.pixels_target)
        return None if None in counts else Overlap(*(int(each or 0) for each in counts))


class StaleRecord(Exception):
    """A record that cannot be used: damaged, of another form, or made from something else; the message says which."""


def record_path(folder: Path, case_id: str) -> Path:
    """Where the record of a case lies in a run folder."""
    return folder / File.cases / f"{safe_name(case_id)}.json"


def prediction_path(folder: Path, case_id: str) -> Path:
    """Where the predicted mask of a case lies in a run folder: an 8-bit PNG of 0 and 255 at working size."""
    return folder / File.predictions / f"{safe_name(case_id)}.png"


def before_path(folder: Path, case_id: str) -> Path:
    """Where the mask that a repaired case had before lies in a run folder, as predictions do."""
    return folder / File.before / f"{safe_name(case_id)}.png"


def candidates_path(folder: Path, case_id: str) -> Path:
    """Where the candidates of a case lie in a run folder."""
    return folder / File.candidates / f"{safe_name(case_id)}.npy"


def sha256(content: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def write_record(folder: Path, record: CaseRecord, picture: bytes | None, candidates: bytes | None = None) -> None:
    """Put a finished case on disk: first its candidates and the prediction's PNG, if there are any, then the record.

    Raises:
        EnvironmentFault: the disk is full, the folder cannot be written, or is not there any more.
    """
    require_kept(folder)
    for path, content in (
        (candidates_path(folder, record.case_id), candidates),
        (prediction_path(folder, record.case_id), picture),
    ):
        if content is not None:
            atomic_write(path, content)
        else:
            path.unlink(missing_ok=True)
    atomic_write(record_path(folder, record.case_id), json.dumps(asdict(record), allow_nan=False, indent=1))


def read_record(path: Path) -> CaseRecord:
    """The record in a file, checked field by field.

    Raises:
        StaleRecord: the file is damaged or of another form.
    """
    try:
        values = from_json(read_small(path))
    except (OSError, ValueError) as error:
        raise StaleRecord(f"cannot be read ({error})") from error
    version = values.get("version") if isinstance(values, dict) else None
    if version not in (4, 5, RECORD_VERSION):
        raise StaleRecord("is of another version")
    if version == 4:
        values = _from_4(values)
    if version != RECORD_VERSION:
        values = values | dict.fromkeys(_NEW_IN_6) | {"charges": {}}
    wrong = _wrong_fields(
        {"confidence": {}, "flag": None, "repaired": None, "before": {}, "stress": None, "roi_recall": None} | values
    )
    if wrong:
        raise StaleRecord(f"has a wrong {', '.join(wrong)}")
    return CaseRecord(**values)


def reusable(folder: Path, case_id: str, key: str) -> CaseRecord:
    """The finished record of a case, if it was made from exactly what `key` stands for and its picture is whole.

    Raises:
        StaleRecord: it was not, or is damaged, or the case had failed.
    """
    record = read_record(record_path(folder, case_id))
    if record.failed:
        raise StaleRecord(f"had {record.status}")
    if record.case_id != case_id or record.key != key:
        raise StaleRecord("was made from another image, configuration, weights or scores")
    if record.version == 4 and record.scores.get("hc_mm") is not None:
        raise StaleRecord("measures the head half a pixel inside its outline")
    try:
        picture = read_file(prediction_path(folder, case_id), PICTURE)
    except (OSError, TooLarge) as error:
        raise StaleRecord("lacks its prediction") from error
    if sha256(picture) != record.png_sha256:
        raise StaleRecord("has a damaged prediction")
    read_candidates(folder, record)
    return record


def read_candidates(folder: Path, record: CaseRecord) -> bytes | None:
    """The file of a record's candidates; None where it has none, as records of earlier versions.

    Raises:
        StaleRecord: it is gone, or is not what was written.
    """
    if record.candidates_sha256 is None:
        return None
    try:
        content = read_file(candidates_path(folder, record.case_id), PICTURE)
    except (OSError, TooLarge) as error:
        raise StaleRecord("lacks its candidates") from error
    if sha256(content) != record.candidates_sha256:
        raise StaleRecord("has damaged candidates")
    return content


def scored_case(ref: CaseRef, record: CaseRecord) -> Case:
    """The case of a record, read again to be shown beside its score.

    Raises:
        CaseError: it cannot be read, or E_CHANGED: it is not what was scored.
    """
    case = ref.load()
    if fingerprint(case) != record.fingerprint:
        raise CaseError("E_CHANGED", f"{record.case_id}: its image or mask was changed after it was scored; run again")
    return case


def scored_mask(folder: Path, record: CaseRecord) -> NDArray[np.bool_]:
    """The predicted mask of a record, bool (H, W).

    Raises:
        CaseError: E_READ, its file cannot be read, or E_CHANGED: it is not what was scored.
    """
    try:
        content = read_file(prediction_path(folder, record.case_id), PICTURE)
    except (OSError, TooLarge) as error:
        raise CaseError("E_READ", f"{record.case_id}: its prediction cannot be read ({error})") from error
    if sha256(content) != record.png_sha256:
        raise CaseError("E_CHANGED", f"{record.case_id}: its prediction was changed after it was scored; run again")
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture) > 0


def _from_4(values: Mapping[str, Any]) -> dict[str, Any]:
    """A record of 0.1.0, whose scores were fields of their own, in today's form."""
    rest = {name: value for name, value in values.items() if name not in _SCORES_OF_4}
    scores = {name: values[name] for name in _SCORES_OF_4 if name in values}
    return rest | {"subject": None, "scores": scores, "similarities": values.get("scores")}


def _wrong_fields(values: Mapping[str, Any]) -> list[str]:
    hints = _hints()
    missing = [name for name in hints if name not in values]
    return missing + [name for name in values if name not in hints or not _fits(values[name], hints[name])]


@lru_cache(1)  # it reads all annotations anew, which takes longer than a record
def _hints() -> dict[str, Any]:
    """The type of each field, in order."""
    hints = get_type_hints(CaseRecord)
    return {each.name: hints[each.name] for each in fields(CaseRecord)}


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of the annotated type; ints pass for floats, booleans for nothing."""
    if isinstance(hint, UnionType):
        return any(_fits(value, each) for each in get_args(hint))
    inner = get_args(hint)
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_fits(each, inner[0]) for each in value)
    if get_origin(hint) is dict:
        return isinstance(value, dict) and all(_fits(each, inner[1]) for each in value.values())
    if isinstance(value, bool):
        return False
    return isinstance(value, (int, float) if hint is float else NoneType if hint is NoneType else hint)


def subjects_of(records: Sequence[CaseRecord]) -> list[str] | None:
    """Group and subject of each case, of records of 0.1.0 the volume; None unless each tells."""
    told = [each.subject or each.volume for each in records]
    return None if None in told else [f"{each.group}/{name}" for each, name in zip(records, told, strict=True)]


def doubt_of(records: Sequence[CaseRecord], wanted: str) -> str | None:
    """The measure that cases without a target are sorted by: the wanted one, or the first that any of them has."""
    had = (each for each in (wanted, *Doubt) if any(record.believed(each) is not None for record in records))
    return next(had, None)


def by_doubt(records: Sequence[CaseRecord], measure: str) -> list[CaseRecord]:
    """The same, the most doubtful first: those without the measure, then the lowest."""
    return sorted(records, key=lambda each: -math.inf if (found := each.believed(measure)) is None else found)


def volumes_of(records: Sequence[CaseRecord]) -> list[str] | None:
    """Group and volume of each case; None unless every case is a slice of a volume."""
    if not records or any(each.volume is None for each in records):
        return None
    return [f"{each.group}/{each.volume}" for each in records]
