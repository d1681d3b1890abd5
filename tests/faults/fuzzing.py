"""Mutations of valid files, the readers that take them, and what may come out: a result, or an error with a name.

`make fuzz` runs this file: at least 20,000 inputs over all readers, counted by reader and by error.

python tests/faults/fuzzing.py [INPUTS] [SEED] [READER ...]
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import re
import resource
import signal
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import formats
import hypothesis
import nibabel as nib
import numpy as np
from hypothesis import strategies as st
from PIL import Image

from salip_exp._runs.folder import State, read_run
from salip_exp._runs.records import RECORD_VERSION, CaseRecord, StaleRecord, read_record
from salip_exp._runs.summary import VERSION
from salip_exp._settings import foreign  # noqa: F401  (the door that the command line has for files of others)
from salip_exp._settings.compose import compose
from salip_exp._settings.tuned import read_tuned
from salip_exp._settings.validate import typed
from salip_exp.cache._base import Stage
from salip_exp.cache._files import HEAD, MARK, Damaged, pack, unpack
from salip_exp.cascade.sentences import read_sentences
from salip_exp.config import DatasetConfig, VdtConfig, Volume
from salip_exp.data.images import read_mask, read_picture
from salip_exp.data.readers.hc18 import TABLE, _load_head, _read_measures
from salip_exp.data.volumes import read_grid, read_target, read_windowed
from salip_exp.errors import CaseError, ConfigError, DataError

SECONDS = 20  # of the processor that a reader may take for one input
PATIENCE = 30  # times that on the clock: machines are shared, and a reader may wait without working
MEMORY = 1 << 30  # bytes that it may take (nightly)
FORBIDDEN = {
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "pickle.find_class", "socket.connect",
}  # fmt: skip
"""What Python would report if a reader ran something."""

Read = Callable[[bytes, Path], Any]


@dataclass(frozen=True)
class Reader:
    """A reader of foreign bytes.

    Attributes:
        seeds: valid files.
        read: takes a file's bytes and a folder of its own.
        errors: what it may raise.
        head: bytes at the start where most damage goes to, since what is there says how to read the rest.
    """

    name: str
    seeds: tuple[bytes, ...]
    read: Read
    errors: tuple[type[Exception], ...]
    head: int


class Hang(Exception):
    """A reader took too long."""


# -- valid files


def nifti(kind: type, shape: tuple[int, ...], spread: int = 900) -> bytes:
    """A NIfTI file of a few hundred voxels."""
    values = np.random.default_rng(len(shape)).integers(0, spread, shape).astype(kind)
    image = nib.Nifti1Image(values, np.diag([1.5, 1, 1, 1]))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"a comment"))
    return bytes(image.to_bytes())


def picture(mode: str, form: str = "png", **options: Any) -> bytes:
    """A picture file of 24 x 20 pixels."""
    pixels = np.random.default_rng(1).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    stream = io.BytesIO()
    deep = Image.fromarray(pixels[:, :, 0].astype(np.uint16) << 4)
    image = deep if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    image.save(stream, form, **options)
    return stream.getvalue()


def outline() -> bytes:
    """An HC18 annotation of 32 x 32 pixels: the outline of an ellipse."""
    rows, columns = np.mgrid[:32, :32]
    far = ((rows - 16) / 11) ** 2 + ((columns - 15) / 9) ** 2
    stream = io.BytesIO()
    Image.fromarray((255 * (abs(far - 1) < 0.2)).astype(np.uint8)).save(stream, "png")
    return stream.getvalue()


CSV = b"filename,pixel size(mm),head circumference (mm)\r\n001_HC.png,0.06913580,44.3\r\n002_HC.png,0.0896,56.81\n"
YAML = b"""# @package _global_
seed: 7
area: {threshold: 0.5, unit: fraction}
sam:
  points_per_side: 8
  pred_iou_thresh: 0.7
view:
  color: [255, 0, 0]
vdt:
  name: mine
  sentences: ["a bright oval", "an oval"]
dataset: {limit: 3, volume: {axis: axial, window_low: 1.0}}
figures: worst:3,best:3
max_failed: 0.1
"""
TUNED = b"""# a study
version: 1
sam: {points_per_side: 16, pred_iou_thresh: 0.71, box_nms_thresh: 0.8}
area: {threshold: 0.43, unit: fraction}
tuned_on: {dataset: hc18, images: ["001_HC", "002_HC"]}
"""
RECORD = CaseRecord(
    "key", "print", "v/axial_1", "fake", "GE 3", "v", 1, "salip", "ok", scores={"dsc": 0.7, "iou": None}, n_pool=9,
    selected=[1], similarities=[0.25], boxes=[[0.0, 1.0, 2.0, 3.0]], seconds={"load": 0.1}, work={"encoder_calls": 1},
    notes=["a note"],
)  # fmt: skip
TEXTS = b'{"brain": ["a dark oval", "folds \\u00e9"], "lungs": ["two dark wings"]}'
ARRAYS = {
    "features": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "bits": np.arange(9, dtype=np.uint8),
    "yes": np.ones(3, bool),
}
KEY = "a" * 32


def entry() -> bytes:
    """A cache entry."""
    return b"".join(bytes(piece) for piece in pack(Stage.table, KEY, ARRAYS))


def summary() -> bytes:
    """A run's summary, as far as one can be written without a run."""
    part = {"n": 1, "missing": 0, "mean": 0.5, "sd": None, "low": 0.5, "high": 0.5, "interval": "bca"}
    whole = dict.fromkeys(("dsc", "iou", "hd95", "nsd"), part)
    rest = {"cases": 1, "volumes": None, "volume_dsc": None, "hc_error": None, "hc_abs_error": None}
    counts: dict[str, Any] = {"statuses": {"ok": 1}, "failures": {"none": 1}, "losses": {}}
    overall = {**whole, **rest, **counts}
    said = {"notes": [], "networks": {"sam": "tiny"}, "definitions": {}, "confidence": 0.95}
    return json.dumps({"version": VERSION, "overall": overall, "groups": {"GE 3": overall}, **said}).encode()


# -- readers


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read_nifti(data: bytes, folder: Path, name: str = "v.nii") -> None:
    path = write(folder, name, data)
    for attempt in (
        lambda: read_grid(path),
        lambda: read_windowed(path, Volume()),
        lambda: read_target(path, None),
        lambda: read_target(path, 1),
    ):
        ignoring_cases(attempt)
    read_windowed(path, Volume())


def ignoring_cases(attempt: Callable[[], Any]) -> None:
    """Every way to read a file is tried, also where another refused it."""
    try:
        attempt()
    except CaseError:
        return


def read_packed(data: bytes, folder: Path) -> None:
    read_nifti(data, folder, "v.nii.gz")


def read_repacked(data: bytes, folder: Path) -> None:
    """Damage below the compression, where a checksum does not see it."""
    read_nifti(gzip.compress(data, 1), folder, "v.nii.gz")


def read_png(data: bytes, folder: Path) -> None:
    path = write(folder, "p.png", data)
    ignoring_cases(lambda: read_mask(path))
    read_picture(path)


def read_annotation(data: bytes, folder: Path) -> None:
    image = write(folder, "001_HC.png", outline())
    _load_head(image, write(folder, "001_HC_Annotation.png", data), None, DatasetConfig(name="hc18", layout="hc18"))


def sealed(data: bytes) -> bytes:
    """A PNG with checksums that fit whatever its chunks hold now."""
    parts, at = [data[:8]], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        body = data[at + 4 : at + 8 + size]
        parts += [data[at : at + 4], body, zlib.crc32(body).to_bytes(4, "big")]
        at += 12 + size
    return b"".join(parts)


def read_sealed_annotation(data: bytes, folder: Path) -> None:
    """Damage below the checksums."""
    read_annotation(sealed(data), folder)


def read_csv(data: bytes, folder: Path) -> None:
    write(folder, TABLE, data)
    _read_measures(folder, folder)


def read_yaml(data: bytes, folder: Path) -> None:
    (folder / "study").mkdir(exist_ok=True)
    write(folder / "study", "mine.yaml", data)
    typed(compose([f"hydra.searchpath=[{folder.as_uri()}]", "+study=mine"]))


def read_texts(data: bytes, folder: Path) -> None:
    read_sentences(VdtConfig(name="brain", file=str(write(folder, "vdt.json", data))))


def read_entry(data: bytes, folder: Path) -> None:
    unpack(Stage.table, KEY, data)


def read_resealed(data: bytes, folder: Path) -> None:
    """An entry whose digest fits its damage: somebody meant it."""
    content = data[HEAD:]
    digest = hashlib.sha256(f"{Stage.table}/{KEY}\n".encode() + content).digest()
    for array in unpack(Stage.table, KEY, MARK + digest + content).values():
        array.sum()


def read_summary(data: bytes, folder: Path) -> None:
    (folder / "cases").mkdir(exist_ok=True)
    write(folder, "summary.json", data)
    write(folder, "manifest.json", b'{"command": "x", "data": {"n_used": 1}, "commit": null}')
    write(folder, "status.json", b'{"state": "finished"}')
    if read_run(folder).label is State.damaged:
        raise Damaged("labelled damaged")


def read_image(name: str) -> Read:
    """A reader of pictures of another format, as image and as mask."""

    def read(data: bytes, folder: Path) -> None:
        path = write(folder, name, data)
        ignoring_cases(lambda: read_mask(path, 3))
        ignoring_cases(lambda: read_mask(path))
        read_picture(path)

    return read


def turned(form: str) -> bytes:
    """A picture that its EXIF data turn."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture("L", form, exif=exif)


PICTURES = (
    picture("RGB"), picture("L"), picture("P"), picture("LA"), picture("I;16"), picture("RGBA", optimize=True),
)  # fmt: skip
VOLUMES = (nifti(np.int16, (5, 6, 7)), nifti(np.float32, (6, 5, 4, 1)), nifti(np.uint8, (8, 8), 2))
RECORDS = (json.dumps(asdict(RECORD)).encode(), json.dumps(asdict(replace(RECORD, scores={}, slice=None))).encode())
READERS = (
    Reader("nifti", VOLUMES, read_nifti, (CaseError,), 352),
    Reader("nifti.gz", tuple(gzip.compress(each) for each in VOLUMES), read_packed, (CaseError,), 40),
    Reader("nifti.gz, inside", VOLUMES, read_repacked, (CaseError,), 352),
    Reader("png", PICTURES, read_png, (CaseError,), 60),
    Reader("png, resealed", PICTURES, lambda data, folder: read_png(sealed(data), folder), (CaseError,), 60),
    Reader("jpeg", (turned("jpeg"), picture("RGB", "jpeg")), read_image("p.jpg"), (CaseError,), 60),
    Reader(
        "tiff",
        (turned("tiff"), picture("I;16", "tiff"), picture("RGB", "tiff", compression="tiff_adobe_deflate")),
        read_image("p.tif"),
        (CaseError,),
        400,
    ),
    Reader("bmp", (picture("L", "bmp"), picture("RGB", "bmp")), read_image("p.bmp"), (CaseError,), 60),
    Reader("dicom", formats.DICOM, formats.read_dicom, (CaseError,), 600),
    Reader("dicom frames", formats.FRAMES, formats.read_frames, (CaseError,), 1800),
    Reader("nrrd", formats.ITK["a.nrrd"], formats.read_itk("a.nrrd"), (CaseError,), 300),
    Reader("metaimage", formats.ITK["a.mha"], formats.read_itk("a.mha"), (CaseError,), 300),
    Reader("ome-tiff", formats.OME, formats.read_ome, (CaseError,), 2000),
    Reader("npz", formats.NPZ, formats.read_npz, (CaseError,), 200),
    Reader("npz, inside", (formats.ARRAY.getvalue(),), formats.read_array, (CaseError,), 128),
    Reader("coco", (formats.COCO, formats.PACKED_COCO), formats.read_coco, (CaseError, DataError), len(formats.COCO)),
    Reader("table", (formats.TABLE,), formats.read_table, (DataError,), len(formats.TABLE)),
    Reader("tree", (formats.NNUNET, formats.DECATHLON), formats.read_tree, (ConfigError, DataError), 120),
    Reader("annotation", (outline(),), read_annotation, (CaseError,), 60),
    Reader("annotation, resealed", (outline(),), read_sealed_annotation, (CaseError,), 60),
    Reader("csv", (CSV,), read_csv, (DataError,), 60),
    Reader("yaml configuration", (YAML,), read_yaml, (ConfigError,), len(YAML)),
    Reader("tuned.yaml", (TUNED,), lambda data, folder: read_tuned(write(folder, "t.yaml", data)), (ConfigError,), 60),
    Reader("vdt json", (TEXTS, b'["a bright oval"]'), read_texts, (ConfigError,), 40),
    Reader("case record", RECORDS, lambda data, folder: read_record(write(folder, "r.json", data)), (StaleRecord,), 99),
    Reader("cache entry", (entry(),), read_entry, (Damaged,), 300),
    Reader("cache entry, resealed", (entry(),), read_resealed, (Damaged,), 300),
    Reader("summary", (summary(),), read_summary, (Damaged,), 300),
)
assert all(each["version"] == RECORD_VERSION for each in map(json.loads, RECORDS))


# -- mutations

WORDS = (b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9" * 400, b"null", b"true", b"[]", b"{}", b'"x"', b"[" * 3000,
         b"{_target_: os.system, command: 'false'}", b"!!python/object/apply:os.system ['false']", b"&a [*a]",
         b"${oc.env:HOME}", b"../../etc/passwd", b"\xff\xfe", b"\x00", b"0x7fffffffffffffff")  # fmt: skip
FIELDS = tuple(
    number.to_bytes(size, "little", signed=True)
    for size in (1, 2, 4, 8)
    for number in (0, 1, -1, (1 << 8 * size - 1) - 1, -(1 << 8 * size - 1), 7)
) + tuple(np.array(value, "<f4").tobytes() for value in (np.nan, np.inf, 1e38, -1e-38, 0.5))

places = st.integers(0, 1 << 30)
bits = st.tuples(st.just("bit"), places, st.integers(0, 7))
fields = st.tuples(st.just("field"), places, st.sampled_from(FIELDS))
words = st.tuples(st.just("word"), places, st.sampled_from(WORDS))
cuts = st.tuples(st.just("cut"), places, st.just(b""))
spans = st.tuples(st.sampled_from(["drop", "twice"]), places, st.integers(1, 64))
noise = st.tuples(st.just("insert"), places, st.binary(min_size=1, max_size=40))
splices = st.tuples(st.just("splice"), places, places)
often = (bits, fields, bits, fields, words)  # damage that leaves every other byte where it was goes deepest
steps = st.lists(st.one_of(*often, spans, noise, splices, cuts), min_size=1, max_size=3)


def mutated(reader: Reader, seed: int, changes: list[tuple[str, int, Any]]) -> bytes:
    """A valid file of the reader's after some changes, most of them near its start."""
    data = reader.seeds[seed % len(reader.seeds)]
    for kind, place, value in changes:
        reach = min(reader.head, len(data)) if place % 3 else len(data)
        data = CHANGES[kind](data, (place // 3) % max(1, reach), value, reader)
    return data


def _word(data: bytes, at: int, value: bytes, reader: Reader) -> bytes:
    """A number, or a word, of a text replaced by one that is odd; of other bytes, what stands there."""
    found = [match.span() for match in re.finditer(rb"-?[0-9][0-9.e]*|[A-Za-z_]{2,}|\"[^\"]*\"", data)]
    if not found:
        return data[:at] + value + data[at:]
    start, end = found[at % len(found)]
    return data[:start] + value + data[end:]


CHANGES: dict[str, Callable[[bytes, int, Any, Reader], bytes]] = {
    "bit": lambda data, at, value, _: data[:at] + bytes([data[at] ^ 1 << value]) + data[at + 1 :] if data else data,
    "field": lambda data, at, value, _: data[:at] + value + data[at + len(value) :],
    "word": _word,
    "cut": lambda data, at, value, _: data[:at],
    "drop": lambda data, at, value, _: data[:at] + data[at + value :],
    "twice": lambda data, at, value, _: data[: at + value] + data[at:],
    "insert": lambda data, at, value, _: data[:at] + value + data[at:],
    "splice": lambda data, at, value, reader: data[:at] + reader.seeds[value % len(reader.seeds)][value % 50 :],
}

# -- watching


class Watch:
    """Hears what Python reports while a reader works."""

    def __init__(self) -> None:
        self.active = False
        self.heard: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.active and event in FORBIDDEN:
            self.heard.append(event)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Fail if something was run inside the block, or if it took too long."""

        def late(number: int, frame: FrameType | None) -> None:
            raise Hang(f"more than {SECONDS} s")

        self.heard.clear()
        timers = {signal.SIGALRM: (signal.ITIMER_REAL, PATIENCE), signal.SIGPROF: (signal.ITIMER_PROF, 1)}
        before = {number: signal.signal(number, late) for number in timers}
        for timer, times in timers.values():
            signal.setitimer(timer, times * SECONDS)
        self.active = True
        try:
            yield
        finally:
            self.active = False
            for number, (timer, _) in timers.items():
                signal.setitimer(timer, 0)
                signal.signal(number, before[number])
        assert not self.heard, f"a reader ran {self.heard}"


WATCH = Watch()


def outcome(reader: Reader, data: bytes, folder: Path) -> str:
    """`valid`, or the name of the error; any other error passes through, and is a finding."""
    with WATCH.watching():
        try:
            reader.read(data, folder)
        except reader.errors as error:
            return getattr(error, "code", type(error).__name__)
    return "valid"


# -- nightly


def fuzz(reader: Reader, inputs: int, seed: int, folder: Path) -> Counter[str]:
    """Outcomes of so many inputs; a finding ends it with the smallest input that shows it."""
    seen: Counter[str] = Counter()

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
    )
    @hypothesis.given(st.integers(0, 9), steps)
    def attempt(which: int, changes: list[tuple[str, int, Any]]) -> None:
        seen[outcome(reader, mutated(reader, which, changes), folder)] += 1

    attempt()
    return seen


def main(inputs: int, seed: int, names: Sequence[str] = ()) -> int:
    """Fuzz every reader, or those of some names, and print what came out; 1 if anything did that has no name."""
    readers = [each for each in READERS if not names or each.name in names]
    each = -(-inputs // len(readers))
    logging.captureWarnings(True)
    logging.getLogger().addHandler(logging.NullHandler())
    found, total, start = 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory(prefix="salip_exp-fuzz-") as place:
        for reader in readers:  # once each before the limit: what they import stays
            outcome(reader, reader.seeds[0], Path(place))
        taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        for reader in readers:
            try:
                seen = fuzz(reader, each, seed, Path(place))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                found += 1
                notes = "; ".join(getattr(error, "__notes__", []))
                said = f"{type(error).__name__}: {str(error)[:300]}"
                print(f"{reader.name:<22} FINDING {said}\n{notes[:1500]}", flush=True)
                continue
            total += seen.total()
            counts = ", ".join(f"{name} {count}" for name, count in seen.most_common())
            print(f"{reader.name:<22} {seen.total():>6} inputs: {counts}", flush=True)
    print(f"{total} inputs in {time.monotonic() - start:.0f} s, {found} findings")
    return int(found > 0)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:3]]
    sys.exit(main(*(numbers + [20_000, 0][len(numbers) :]), sys.argv[3:]))
