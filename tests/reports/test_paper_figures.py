"""Figures show the cases that their rules name, whole as PNG and PDF; what there is none of is said, not invented."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from salip_exp._experiments.cells import Cell, Finished
from salip_exp._files import png
from salip_exp._reports.paper_figures import RULES, draw_figures, lowest, most_changed, nearest_to_median
from salip_exp._reports.sheet import DPI, WIDTH, Panel, Row, Sheet, rendered
from salip_exp._runs.records import CaseRecord, fingerprint, prediction_path, sha256
from salip_exp.cache.store import MemoryStore
from salip_exp.cascade.pool import Pool, pack
from salip_exp.config import ClipConfig, Config, DatasetConfig, Phantom, SamConfig, VdtConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.evaluation.attribution import Failure
from salip_exp.methods._registry import build_method
from salip_exp.methods.base import Prediction, Status
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam

NAMES = ["fig3", "fig4", "fig5", "fig6"]
SHAPE = (48, 64)


def record(name: str, dsc: float | None, failure: str = "none", status: str = "ok") -> CaseRecord:
    facts = {"scores": {"dsc": dsc}, "failure": failure, "best_candidate_iou": 0.25}
    return CaseRecord("", "", name, "stub", "all", None, None, "salip", status, **facts)


SALIP = [
    record("a", 0.9),
    record("b", 0.5, "sam"),
    record("c", 0.6, "duplicate"),
    record("d", 0.7, "clip"),
    record("e", 0.4, "clip"),
    record("f", 0.3, "sam"),
    record("g", None, status="failed(E_READ)"),
]
UNFILTERED = [replace(each, scores={"dsc": 0.1}) if each.case_id == "d" else each for each in SALIP]


def case_of(name: str, shape: tuple[int, int] = SHAPE) -> Case:
    image = np.full((*shape, 3), 60, np.uint8)
    target = np.zeros(shape, bool)
    target[10:30, 5:20] = target[10:30, 30:50] = True
    image[target] = 160
    image.flags.writeable = False
    return Case(name, "stub", "all", image, target, None, name)


class Cascade:
    """Finds the parts of the target, one of them twice, and retrieves what it is told."""

    def __init__(self, selected: list[int]) -> None:
        self.selected = selected

    def predict(self, case: Case) -> Prediction:
        masks = np.zeros((3, *case.image.shape[:2]), bool)
        masks[0, 10:30, 5:20] = masks[1, 11:30, 5:20] = masks[2, 10:30, 30:50] = True
        packed, ones = pack(masks), np.ones(3, np.float32)
        pool = Pool(np.arange(3), packed, packed.boxes.astype(np.float32), packed.areas, ones, ones)
        scores = np.array([0.3, 0.2, 0.1], np.float32)
        chosen = self.selected
        final = masks[chosen].any(axis=0)
        return Prediction(
            final, Status.ok, pool, np.arange(3), scores, chosen, scores[chosen].tolist(), pool.boxes[chosen]
        )


class Broken:
    def predict(self, case: Case) -> Prediction:
        raise RuntimeError("out of memory")


def config_of(k: int = 2, **sam: float) -> Config:
    data = DatasetConfig(name="phantom_xray", layout="xray", roi="lungs", k=k, phantom=Phantom())
    networks = {"sam": SamConfig(name="stub", **sam), "clip": ClipConfig(name="stub"), "vdt": VdtConfig(name="stub")}
    return Config(dataset=data, **networks)


def scored(record: CaseRecord, case: Case) -> CaseRecord:
    """The record of a case as it is, predicted perfectly."""
    picture = png(case.mask.astype(np.uint8) * 255)
    return replace(record, fingerprint=fingerprint(case), png_sha256=sha256(picture))


def cell_of(folder: Path, column: str, records, method=None, shape=SHAPE, k=2) -> Finished:
    """A finished cell whose predictions lie in its run folder."""
    method = method or Cascade([0, 1])
    cases = [case_of(each.case_id, shape) for each in records]
    for case in cases:
        path = prediction_path(folder / column, case.case_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(case.mask.astype(np.uint8) * 255))
    records = [scored(each, case) for each, case in zip(records, cases, strict=True)]
    refs = [CaseRef(each.case_id, "all", each.case_id, lambda each=each: each) for each in cases]
    return Finished(Cell("xray", column, ()), config_of(k), folder / column, records, refs, lambda: method)


def cells_of(folder: Path, **columns) -> dict[tuple[str, str], Finished]:
    return {("xray", column): cell_of(folder, column, records) for column, records in columns.items()}


@pytest.fixture
def cells(tmp_path):
    return cells_of(tmp_path / "cells", salip=SALIP, gt_sam=SALIP, unprompted_sam=SALIP, no_filter=UNFILTERED)


def test_the_rules_name_one_case_and_the_first_of_equal_ones():
    assert nearest_to_median(SALIP).case_id == "b"
    assert nearest_to_median([record("a", None)]) is None
    assert lowest(SALIP, Failure.sam).case_id == "f"
    assert lowest(SALIP, Failure.clip).case_id == "e"
    assert lowest(SALIP, Failure.filter) is None
    assert lowest([record("x", 0.2, "sam"), record("y", 0.2, "sam")], Failure.sam).case_id == "x"
    assert [each.dsc for each in most_changed(UNFILTERED, SALIP)] == [0.1, 0.7]
    assert most_changed(SALIP, SALIP) is None
    assert most_changed(SALIP[:1], SALIP[1:]) is None


def test_every_figure_is_whole_and_shows_the_cases_of_its_rule(cells, tmp_path):
    entries = draw_figures(NAMES, cells, tmp_path)
    assert [each["name"] for each in entries] == NAMES
    assert [[case["case_id"] for case in each["cases"]] for each in entries] == [["b"], ["f"], ["c", "e"], ["d", "d"]]
    for entry in entries:
        with Image.open(tmp_path / entry["file"]) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert picture.info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)
            assert picture.width == WIDTH * DPI and 0.1 < picture.height / picture.width < 1.5
        pdf = (tmp_path / entry["pdf"]).read_bytes()
        assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF")
        assert b"/CreationDate" not in pdf and b"/Type3" not in pdf and b"/FontFile2" in pdf
        caption = (tmp_path / f"{entry['name']}.txt").read_text()
        assert entry["rule"] == RULES[entry["name"]] and entry["rule"] in caption
        assert all(f"{case['case_id']}, {case['shown']}" in caption for case in entry["cases"])
        assert any(note.startswith("phantoms:") for note in entry["notes"])


def test_what_there_is_none_of_is_said(tmp_path):
    good = [record("a", 0.9), record("b", 0.8)]
    cells = cells_of(tmp_path / "cells", salip=good, no_filter=good)
    entries = {each["name"]: each for each in draw_figures(NAMES, cells, tmp_path)}
    assert all((tmp_path / each["file"]).is_file() for each in entries.values())
    assert [entries[name]["cases"] for name in ("fig4", "fig5", "fig6")] == [[], [], []]
    assert "phantom_xray: none taken, SAM loses no case of 2." in entries["fig4"]["notes"]
    assert "phantom_xray: none taken, CLIP loses no case of 2." in entries["fig5"]["notes"]
    assert "phantom_xray: none taken, the area filter changes the DSC of no case of 2." in entries["fig6"]["notes"]
    assert "hc18: not here, its runs are missing or failed." in entries["fig4"]["notes"]
    assert entries["fig3"]["cases"][0]["shown"] == "GT-SAM missing, un-prompted SAM missing, SaLIP DSC 0.90"


def test_one_figure_that_cannot_be_drawn_does_not_stop_the_others(cells, tmp_path):
    cells["xray", "salip"] = replace(cells["xray", "salip"], build=Broken)
    entries = draw_figures(["fig4", "fig3"], cells, tmp_path)
    assert [each["file"] for each in entries] == [None, "fig3.png"]
    assert entries[0]["notes"] == ["not drawn: RuntimeError: out of memory"]
    assert not (tmp_path / "fig4.png").exists()


@pytest.mark.parametrize(("shape", "selected", "k"), [(SHAPE, [], 1), ((64, 300), [2], 1), ((400, 64), [0, 2], 2)])
def test_any_shape_and_any_number_of_retrieved_candidates_can_be_drawn(tmp_path, shape, selected, k):
    lost = [record("a", 0.2, "clip")]
    cells = {("xray", "salip"): cell_of(tmp_path / "cells", "salip", lost, Cascade(selected), shape, k)}
    assert draw_figures(["fig5"], cells, tmp_path)[0]["file"]


def test_equal_sheets_are_equal_files():
    pixels = np.arange(48 * 64 * 3, dtype=np.uint32).reshape(48, 64, 3).astype(np.uint8)
    panel = Panel(
        pixels, [(case_of("a").mask, (255, 140, 0))], [(5, 10, 19, 29)], score="DSC 0.50", caption="$b \udcff"
    )
    sheet = Sheet(["image"] * 6, [Row("lungs\nx", [panel])], ["note " * 80])
    first, second = rendered(sheet), rendered(sheet)
    assert first == second
    assert Image.open(io.BytesIO(first["png"])).info.keys() <= {"dpi"}


def test_figures_ask_no_network_for_what_the_cache_holds(blob_sam, random_clip, picture, tmp_path):
    cpu, store, built = torch.device("cpu"), MemoryStore(1 << 28), []
    config = config_of(points_per_side=6, pred_iou_thresh=0.1, stability_score_thresh=0.2, box_nms_thresh=0.9)

    def build():
        networks = LoadedSam(blob_sam, "stub", "0", cpu), LoadedClip(random_clip, "stub", "0", cpu)
        built.append(build_method(config, *networks, ["a bright oval"], store))
        return built[-1]

    target = np.zeros(picture.shape[:2], bool)
    target[20:60, 10:50] = True
    case = Case("case", "stub", "all", picture, target, None, "case")
    build().predict(case)
    ref = CaseRef("case", "all", "case", lambda: case)
    cell = Finished(
        Cell("xray", "salip", ()), config, tmp_path, [scored(record("case", 0.2, "sam"), case)], [ref], build
    )
    (entry,) = draw_figures(["fig4"], {("xray", "salip"): cell}, tmp_path)
    assert entry["file"] and len(built) == 2
    assert not any(built[1].counters.to_dict().values())
