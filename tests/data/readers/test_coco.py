"""COCO files: polygons and run lengths, categories by name, images wherever they lie."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from salip_exp.data.case import Dataset
from salip_exp.data.readers._coco import _decoded
from salip_exp.errors import CaseError, DataError

Save = Callable[..., Path]
Open = Callable[..., Dataset]
SQUARE = [3, 2, 9, 2, 9, 8, 3, 8]
RUNS = {"size": [12, 16], "counts": [12 * 4 + 2, 5, 7, 5, 12 * 10 + 5]}
"""Columns 4 and 5, rows 2 to 6: runs of 0 and 1 go down the columns."""


@pytest.fixture
def content(tmp_path: Path, picture: Save) -> dict[str, Any]:
    """Two pictures of 12 x 16 pixels, one without annotation, and what a COCO file says of them."""
    picture(tmp_path / "train" / "a.png")
    picture(tmp_path / "train" / "b.png")
    return {
        "images": [
            {"id": n, "file_name": f"{name}.png", "height": 12, "width": 16} for n, name in ((7, "a"), (9, "b"))
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [SQUARE]},
            {"id": 2, "image_id": 7, "category_id": 2, "segmentation": RUNS},
        ],
        "categories": [{"id": 1, "name": "liver"}, {"id": 2, "name": "spleen"}],
    }


def masks(tmp_path: Path, content: dict[str, Any], opened: Open, *keys: str) -> dict[str, Any]:
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(content))
    dataset = opened("folder", tmp_path, "files.layout=coco", "resize.mode=native", *keys)
    return {ref.case_id: ref.load().mask for ref in dataset.refs}


def test_a_category_is_the_target_by_name_or_number(tmp_path: Path, content: dict[str, Any], opened: Open) -> None:
    square, runs = np.zeros((12, 16), bool), np.zeros((12, 16), bool)
    square[2:8, 3:9], runs[2:7, 4:6] = True, True
    for label, wanted in (("liver", square), ("1", square), ("spleen", runs)):
        found = masks(tmp_path, content, opened, f"files.label={label}")
        assert (found["a"] == wanted).all() and not found["b"].any()
    content["annotations"].pop()
    assert (masks(tmp_path, content, opened)["a"] == square).all()


@pytest.mark.parametrize(
    ("change", "keys", "said"),
    [
        ({}, (), r"categories liver \(1\), spleen \(2\): choose one"),
        ({}, ("files.label=heart",), "choose one with"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "segmentation": ["x"]}]}, (), "cannot be decoded"),
        ({"annotations": [{"image_id": 8, "category_id": 1, "segmentation": []}]}, (), "no COCO file that can be"),
        ({"images": [{"id": 7, "file_name": "c.png", "height": 1, "width": 1}], "annotations": []}, (), "names c.png"),
    ],
)
def test_what_cannot_be_used_is_said(
    tmp_path: Path, content: dict[str, Any], opened: Open, change: dict[str, Any], keys: tuple[str, ...], said: str
) -> None:
    with pytest.raises((CaseError, DataError), match=said):
        masks(tmp_path, content | change, opened, *keys)


@pytest.mark.parametrize(
    ("segmentation", "code", "said"),
    [
        ([[1, 1, 6, 1, 6, 5, 1, float("nan")]], "E_READ", "leads far out of its image"),
        ([[1, 1, 6, 1, 6, 1e9, 1, 5]], "E_READ", "leads far out of its image"),
        ([[1, 1, 6, 1, 6]], "E_READ", "leads far out of its image"),
        (RUNS | {"size": [16, 12]}, "E_SHAPE", r"of \(16, 12\) pixels for \(12, 16\)"),
        (RUNS | {"size": [60_000, 60_000]}, "E_SHAPE", "pixels for"),
        (RUNS | {"counts": [60, 12]}, "E_READ", "its runs are 72 of 192 pixels long"),
        (RUNS | {"counts": [60, 12, 1 << 40]}, "E_READ", "of 192 pixels long"),
        (RUNS | {"counts": [-60, 132, 120]}, "E_READ", "cannot be decoded"),
        (RUNS | {"counts": ""}, "E_READ", "its runs are 0 of 192"),
        (RUNS | {"counts": "1234"}, "E_READ", "of 192 pixels long"),
        (RUNS | {"counts": "\u00e9"}, "E_READ", "cannot be decoded"),
    ],
)
def test_what_the_decoder_of_c_would_go_astray_with_is_refused(segmentation: Any, code: str, said: str) -> None:
    with pytest.raises(CaseError, match=said) as caught:
        _decoded(segmentation, 12, 16, Path("a.json"))
    assert caught.value.code == code


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_run_lengths_are_those_that_pycocotools_packs(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    packed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    told = {"counts": packed["counts"].decode(), "size": [height, width]}
    assert (_decoded(told, height, width, Path("a.json")) == mask).all()


def test_an_image_of_absurd_size_and_two_of_one_name_are_refused(
    tmp_path: Path, content: dict[str, Any], opened: Open, picture: Save
) -> None:
    huge = [dict(each, height=1 << 20, width=1 << 20) for each in content["images"]]
    with pytest.raises(CaseError, match="the limit is 100000000") as caught:
        masks(tmp_path, content | {"images": huge}, opened, "files.label=1")
    assert caught.value.code == "E_SIZE"
    picture(tmp_path / "train" / "a.bmp")
    twice = [*content["images"], dict(content["images"][0], id=70, file_name="a.bmp")]
    with pytest.raises(DataError, match="whose cases have one name, 'a'"):
        masks(tmp_path, content | {"images": twice}, opened, "files.label=1")


def test_no_file_and_several_are_told(tmp_path: Path, picture: Save, opened: Open) -> None:
    picture(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"wants one file with images and annotations below .*: none"):
        opened("folder", tmp_path, "files.layout=coco")
