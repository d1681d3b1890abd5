"""Pictures in pages are small, and no more than a page can hold."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from salip_exp._reports import page as pictures
from salip_exp._reports.page import data_uri, embedded, thumbnails


@pytest.fixture
def folder(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 900, 3)).astype(np.uint8)
    for i in range(4):
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    return tmp_path


def entry(i: int) -> dict:
    return {"file": f"{i}.png", "rule": "worst", "case_id": f"c{i}", "group": "g", "dsc": 0.5}


def test_a_picture_is_shrunk_to_fit_and_never_enlarged(folder):
    found = data_uri(folder / "0.png", 450)
    content = base64.b64decode(found["uri"].partition(",")[2])
    assert Image.open(io.BytesIO(content)).size == (found["width"], found["height"]) == (450, 150)
    assert data_uri(folder / "0.png", 2000)["width"] == 900


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_what_is_no_picture_is_none(tmp_path, content):
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    assert data_uri(tmp_path / "x.png", 100) is None


def test_strips_come_first_and_pictures_are_numbered_through(folder):
    shown = embedded(folder, {"figures": [entry(0), entry(1)], "strips": [entry(2)]})
    assert [each["number"] for each in shown["strips"]] == [0]
    assert [(each["case_id"], each["number"]) for each in shown["figures"]] == [("c0", 1), ("c1", 2)]


def test_beyond_the_budget_pictures_stay_beside_the_page(folder, monkeypatch):
    one = len(data_uri(folder / "0.png", pictures.OVERLAY)["uri"])
    monkeypatch.setattr(pictures, "BUDGET", 2 * one + 10)
    shown = embedded(folder, {"figures": [entry(i) for i in range(4)], "strips": []})
    assert [each["uri"].startswith("data:") for each in shown["figures"]] == [True, True, False, False]
    assert shown["figures"][3]["uri"] == "3.png"


def test_strips_that_are_shown_on_demand_come_last_into_the_budget(folder, monkeypatch):
    monkeypatch.setattr(pictures, "BUDGET", len(data_uri(folder / "0.png", pictures.OVERLAY)["uri"]) + 10)
    shown = embedded(folder, {"figures": [entry(0)], "strips": [{**entry(1), "rule": "worst_02"}]})
    assert shown["figures"][0]["uri"].startswith("data:") and shown["strips"][0]["uri"] == "1.png"


def test_thumbnails_are_the_first_that_can_be_read(folder):
    (folder / "1.png").unlink()
    found = thumbnails(folder, {"figures": [entry(i) for i in range(4)]}, 3)
    assert [each["case_id"] for each in found] == ["c0", "c2"]
    assert all(each["width"] <= pictures.THUMBNAIL for each in found)
