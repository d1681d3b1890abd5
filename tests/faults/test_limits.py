"""Absurd input is refused by name before it takes memory: every reader runs in a process that may not have it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from salip_exp.cascade.options import _MAX_CANDIDATES, most_candidates

ROOM = 300 << 20
"""Bytes that a reader may take beyond what it is made of; what the files promise is far more."""
PROGRAM = """
import importlib, resource, sys
from pathlib import Path
module, name, path, room = sys.argv[1:]
reader = getattr(importlib.import_module(module), name)
import nibabel, cv2, scipy.ndimage, PIL.PngImagePlugin, PIL.TiffImagePlugin
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + int(room)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
from salip_exp.errors import SalipError
try:
    reader(Path(path))
    print("read")
except SalipError as error:
    print(type(error).__name__, getattr(error, "code", ""), error)
"""


def read(module: str, name: str, path: Path, modules: Path | None = None) -> str:
    """What a reader says of a file, in a process with little room; `modules` holds readers of the tests' own."""
    environment = {**os.environ, "PYTHONPATH": str(modules or "")}
    arguments = [sys.executable, "-W", "ignore", "-c", PROGRAM, module, name, str(path), str(ROOM)]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stderr[-2000:]
    return ended.stdout


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(path: Path, width: int, height: int, pixels: bytes, extra: bytes = b"") -> Path:
    """A PNG by hand, grey, whatever its header promises."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 0, 0, 0, 0])
    parts = chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def huge_picture(folder: Path) -> Path:
    return png(folder / "huge.png", 100_000, 100_000, zlib.compress(bytes(1000)))


def bomb_of_pixels(folder: Path) -> Path:
    """A few hundred kilobytes that are 12,000 x 12,000 pixels when they are unpacked."""
    return png(folder / "bomb.png", 12_000, 12_000, zlib.compress(bytes(12_001 * 12_000), 9))


def bomb_of_text(folder: Path) -> Path:
    """A small picture with a comment of a gigabyte."""
    squeeze = zlib.compressobj(9)
    packed = b"".join(squeeze.compress(bytes(1 << 24)) for _ in range(64)) + squeeze.flush()
    return png(folder / "text.png", 8, 8, zlib.compress(bytes(72)), chunk(b"zTXt", b"Comment\x00\x00" + packed))


def nifti(folder: Path, name: str, shape: tuple[int, ...], size: int = 0) -> Path:
    """A NIfTI header that promises a shape, and so many bytes after it."""
    import nibabel as nib

    header = nib.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape(shape)
    header["magic"] = b"n+1\x00"
    header["vox_offset"] = 352
    header["sform_code"] = 1
    header["srow_x"], header["srow_y"], header["srow_z"] = [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]
    path = folder / name
    with path.open("wb") as stream:
        stream.write(header.binaryblock + bytes(4))
        stream.truncate(352 + size)  # a hole: the file is as long as it says, and takes no room on the disk
    return path


def terabytes(folder: Path) -> Path:
    return nifti(folder, "terabytes.nii", (30_000, 30_000, 1000))


def terabytes_that_are_there(folder: Path) -> Path:
    return nifti(folder, "hole.nii", (20_000, 20_000, 300), 20_000 * 20_000 * 300 * 8)


def gigabytes_packed(folder: Path) -> Path:
    import gzip

    path = folder / "packed.nii.gz"
    path.write_bytes(gzip.compress(nifti(folder, "x.nii", (600, 600, 600)).read_bytes() + bytes(1 << 20)))
    return path


def endless_table(folder: Path) -> Path:
    path = folder / "training_set_pixel_size_and_HC.csv"
    with path.open("wb") as stream:
        stream.write(b"filename,pixel size(mm),head circumference (mm)\n")
        stream.truncate(4 << 30)
    return folder


@pytest.mark.fault("D2", "C2", "B5")
@pytest.mark.parametrize("make", [huge_picture, bomb_of_pixels])
def test_a_picture_of_too_many_pixels_is_refused(make: Callable[[Path], Path], tmp_path: Path) -> None:
    for reader in ("read_picture", "read_mask"):
        assert read("salip_exp.data.images", reader, make(tmp_path)).startswith("CaseError E_SIZE")


@pytest.mark.ci
@pytest.mark.fault("D2", "B5")
def test_a_comment_of_a_gigabyte_in_a_picture_is_refused(tmp_path: Path) -> None:
    said = read("salip_exp.data.images", "read_picture", bomb_of_text(tmp_path))
    assert said.startswith(("CaseError E_READ", "CaseError E_SIZE", "read"))


@pytest.mark.fault("D1", "C2", "B5")
@pytest.mark.parametrize(
    ("make", "code"), [(terabytes, "E_SIZE"), (terabytes_that_are_there, "E_SIZE"), (gigabytes_packed, "E_READ")]
)
def test_a_volume_that_promises_what_no_memory_holds_is_refused(
    make: Callable[[Path], Path], code: str, tmp_path: Path
) -> None:
    for reader in ("read_volume", "read_grid"):
        assert read("salip_exp.data.volumes", reader, make(tmp_path)).startswith(f"CaseError {code}")


@pytest.mark.fault("D17")
def test_a_table_of_gigabytes_is_refused(tmp_path: Path) -> None:
    reader = tmp_path / "reader.py"
    reader.write_text(
        "from salip_exp.data.readers.hc18 import _read_measures\ndef read(f): return _read_measures(f, f)\n"
    )
    said = read("reader", "read", endless_table(tmp_path), modules=tmp_path)
    assert said.startswith("DataError")
    assert "larger than 16 MB" in said


@pytest.mark.fault("D17")
@pytest.mark.parametrize("row", ["a.png,1e-300,200", "a.png,0.1,1e308", "a.png,1e9", "a.png,-1", "a.png,nan", "a.png"])
def test_a_table_of_absurd_numbers_is_refused(row: str, tmp_path: Path) -> None:
    from salip_exp.data.readers.hc18 import TABLE, _read_measures
    from salip_exp.errors import DataError

    (tmp_path / TABLE).write_text(f"filename,pixel size(mm),head circumference (mm)\n{row}\n")
    with pytest.raises(DataError, match="cannot be understood"):
        _read_measures(tmp_path, tmp_path)


@pytest.mark.fault("D11")
@pytest.mark.parametrize("zoom", [1e-30, 1e30])
def test_voxels_of_absurd_size_are_refused(zoom: float, tmp_path: Path) -> None:
    import nibabel as nib

    from salip_exp.data.volumes import read_grid
    from salip_exp.errors import CaseError

    image = nib.Nifti1Image(np.ones((3, 4, 5), np.int16), np.diag([zoom, 1, 1, 1]))
    nib.save(image, tmp_path / "v.nii")
    with pytest.raises(CaseError) as caught:
        read_grid(tmp_path / "v.nii")
    assert caught.value.code in ("E_AFFINE", "E_READ")


@pytest.mark.fault("C2")
@pytest.mark.parametrize(
    "overrides",
    [
        ("sam.points_per_side=256", "sam.crop_n_layers=4"),
        ("task=tune", "tuning.space.points_per_side.choices=[256]", "tuning.space.crop_n_layers.choices=[0,4]"),
    ],
)
def test_ten_million_candidates_are_refused_by_their_number(typed: Any, overrides: tuple[str, ...]) -> None:
    ended = typed(*overrides)
    assert ended.code == 2
    assert "67,043,328 candidates per image: the limit is 2,000,000" in ended.complaint


@pytest.mark.fault("C2")
def test_what_people_use_is_below_the_limit() -> None:
    assert most_candidates(32, 0, 1) == 3072
    assert most_candidates(256, 0, 1) < _MAX_CANDIDATES
    assert most_candidates(64, 2, 1) < _MAX_CANDIDATES


@pytest.mark.fault("C2", "X6")
def test_a_table_of_candidates_that_grows_too_large_fails_its_case(
    blob_sam: Any, picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from salip_exp.cascade import candidates as module
    from salip_exp.cascade.everything import MaskGenerator
    from salip_exp.errors import CaseError

    monkeypatch.setattr(module, "MOST_BYTES", 2000)
    with pytest.raises(CaseError, match="points_per_side") as caught:
        MaskGenerator(blob_sam, points_per_side=8, pred_iou_thresh=0, stability_score_thresh=0).generate(picture)
    assert caught.value.code == "E_SIZE"


ABSURD = ["[" * 100_000, json.dumps(["a"] * 1001), '{"a": 1' + "0" * 5000 + "}"]


@pytest.mark.fault("C4")
@pytest.mark.parametrize("text", ABSURD)
def test_an_absurd_text_is_a_wrong_configuration(text: str, tmp_path: Path) -> None:
    from salip_exp.cascade.sentences import read_sentences
    from salip_exp.config import VdtConfig
    from salip_exp.errors import ConfigError

    (tmp_path / "text.json").write_text(text)
    with pytest.raises(ConfigError, match=r"text\.json"):
        read_sentences(VdtConfig(file=str(tmp_path / "text.json")))


@pytest.mark.ci
@pytest.mark.fault("C4")
def test_an_absurd_text_ends_the_command_with_2(typed: Any, tmp_path: Path) -> None:
    (tmp_path / "text.json").write_text(ABSURD[0])
    ended = typed("vdt=custom", "vdt.file=text.json", "dataset=phantom_hc18", "dataset.phantom.n=1", "task=check")
    assert ended.code == 2
    assert "text.json" in ended.out.replace("\n", "")


@pytest.mark.fault("S6")
@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 50_000, bytes(17 << 20)])
def test_an_absurd_case_record_is_a_stale_one(content: bytes, tmp_path: Path) -> None:
    from salip_exp._runs.records import StaleRecord, read_record

    (tmp_path / "record.json").write_bytes(content)
    with pytest.raises(StaleRecord, match="cannot be read"):
        read_record(tmp_path / "record.json")


@pytest.mark.fault("C3")
def test_a_tuned_file_that_unfolds_to_gigabytes_is_refused(typed: Any, tmp_path: Path) -> None:
    lines = ["version: 1", "a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
    (tmp_path / "tuned.yaml").write_text("\n".join([*lines, "sam: {points_per_side: *a11}", ""]))
    ended = typed("tuned=tuned.yaml")
    assert ended.code == 2
    assert "aliases" in ended.complaint


@pytest.mark.fault("C2")
def test_a_number_of_four_hundred_digits_is_a_wrong_configuration(typed: Any, tmp_path: Path) -> None:
    number = "9" * 400
    assert typed(f"area.threshold={number}").code == 2
    (tmp_path / "mine" / "area").mkdir(parents=True)
    (tmp_path / "mine" / "area" / "large.yaml").write_text(f"threshold: {number}\n")
    ended = typed("--config-dir", "mine", "+area=large")
    assert ended.code == 2 and ended.complaint
    (tmp_path / "mine" / "area" / "large.yaml").write_text("1e999")
    assert "large.yaml" in typed("--config-dir", "mine", "+area=large").complaint
    for line in (f"sam: {{pred_iou_thresh: {number}}}", f"area: {{threshold: {number}, unit: fraction}}"):
        (tmp_path / "tuned.yaml").write_text(f"version: 1\n{line}\ntuned_on: {{dataset: x, images: []}}\n")
        ended = typed("tuned=tuned.yaml")
        assert ended.code == 2 and "is no tuned.yaml" in ended.complaint


@pytest.mark.fault("B8")
def test_a_volume_of_more_extensions_than_the_limit_is_refused_by_their_bytes(tmp_path: Path) -> None:
    path = nifti(tmp_path, "v.nii", (2, 2, 2), 64 + (1 << 23))
    data = bytearray(path.read_bytes())
    data[108:112] = np.float32(352 + (1 << 23)).tobytes()  # where the voxels begin
    data[348:352] = bytes([1, 0, 0, 0])
    data[352 : 352 + (1 << 23)] = (b"\x10\0\0\0" + bytes(12)) * (1 << 19)
    path.write_bytes(data)
    said = read("salip_exp.data.volumes", "read_volume", path)
    assert said.startswith("CaseError E_SIZE") and "8,388,960 bytes before its voxels: the limit is 4,194,304" in said


@pytest.mark.fault("B8", "D17")
def test_a_table_of_more_rows_than_the_limit_is_refused_by_their_number(tmp_path: Path) -> None:
    from salip_exp.data.readers.hc18 import TABLE, _read_measures
    from salip_exp.errors import DataError

    (tmp_path / TABLE).write_text("a\n" * 200_001)
    with pytest.raises(DataError, match="200,001 rows, and 200,000 is the limit"):
        _read_measures(tmp_path, tmp_path)


@pytest.mark.fault("B8", "C4")
def test_texts_of_all_parts_together_are_bounded() -> None:
    from salip_exp.cascade.sentences import read_texts
    from salip_exp.config import TextConfig, VdtConfig
    from salip_exp.errors import ConfigError

    parts = {name: TextConfig(sentences=["a bright oval"] * 501) for name in ("left", "right")}
    with pytest.raises(ConfigError, match=r"vdt\.parts have 1,002 sentences in all .* at most 1,000"):
        read_texts(VdtConfig(parts=parts))


@pytest.mark.fault("B8", "W4")
def test_a_table_of_contents_of_gigabytes_is_refused_by_its_bytes(tmp_path: Path) -> None:
    from salip_exp.errors import WeightsError
    from salip_exp.networks._embedded.networks import read_clip
    from salip_exp.networks.unet import load_unet

    path = tmp_path / "w.safetensors"
    with path.open("wb") as stream:
        stream.write((80 << 20).to_bytes(8, "little"))
        stream.truncate(90 << 20)
    for reader in (read_clip, lambda file: load_unet(str(file), torch.device("cpu"))):
        with pytest.raises(WeightsError, match="83,886,080 bytes, and 4,194,304 is the limit"):
            reader(path)
