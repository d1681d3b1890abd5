"""Predictions as COCO JSON are, to the pixel, those that the run wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image
from pycocotools.coco import COCO

from salip_exp._commands import export
from salip_exp._commands._candidate_masks import export_candidates
from salip_exp._runs.folder import read_run
from salip_exp._runs.runner import run
from salip_exp.config import Config, DatasetConfig, ExportConfig, MissingMasks, Resize
from salip_exp.data.datasets import open_dataset
from salip_exp.errors import DataError


def exported(folder: Path, place: Path) -> int:
    return export.command(Config(export=ExportConfig(str(folder))), place, [])


@pytest.fixture
def pictures(fakes, tmp_path: Path) -> Path:
    for name, bright in {"a": (slice(5, 30), slice(8, 40)), "b/c": (slice(0, 0), slice(0, 0))}.items():
        image = np.full((50, 70), 20, np.uint8)
        image[bright] = 250
        path = tmp_path / "data" / "images" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    told = {"name": "own", "layout": "folder", "root": str(tmp_path / "data"), "missing_masks": MissingMasks.predict}
    data = DatasetConfig(**told, resize=Resize(side=32))
    lab = fakes.FakeLab([], fakes.Threshold())
    lab.cases = open_dataset(data, seed=1)
    assert run(fakes.config(dataset=data), tmp_path / "run", fakes.COMMAND, lab) == 0
    return tmp_path / "run"


def test_predictions_come_back_from_coco(pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exported(pictures, tmp_path / "export") == 0
    assert "2 images, 1 annotation:" in capsys.readouterr().out
    found = COCO(str(tmp_path / "export" / "coco.json"))
    (annotation,) = found.loadAnns(found.getAnnIds())
    image = found.imgs[annotation["image_id"]]
    assert (image["case_id"], image["height"], image["width"]) == ("a", 50, 70)
    with Image.open(pictures / "masks" / "a.png") as written:
        np.testing.assert_array_equal(found.annToMask(annotation) > 0, np.asarray(written) > 0)
    assert annotation["area"] == found.annToMask(annotation).sum()
    roi = json.loads((pictures / "summary.json").read_text())["roi"]
    assert [each["name"] for each in found.loadCats(found.getCatIds())] == [roi]


def test_candidates_are_a_stack_of_masks_and_a_table(fakes, pictures: Path, tmp_path: Path) -> None:
    run = read_run(pictures)
    told = DatasetConfig(name="own", layout="folder", root=str(tmp_path / "data"), resize=Resize(side=32))
    config = fakes.config(dataset=replace(told, missing_masks=MissingMasks.predict))
    lab = fakes.FakeLab([], fakes.Threshold())
    lab.cases = open_dataset(config.dataset, seed=1)
    assert export_candidates(run.records, config, pictures, tmp_path / "export", lab) == 0
    place = tmp_path / "export" / "candidates" / "run"
    table, stack = pd.read_csv(place / "a.csv"), tifffile.imread(place / "a.tif")
    assert stack.shape == (2, 50, 70) and set(np.unique(stack)) == {0, 255}
    assert table.page.tolist() == [1, 2] and table.selected.tolist() == [True, False]
    for row, page in zip(table.itertuples(), stack > 0, strict=True):
        ys, xs = np.nonzero(page)
        assert (row.x0, row.y0, row.x1, row.y1, row.area) == (xs.min(), ys.min(), xs.max(), ys.max(), len(xs))
    with Image.open(pictures / "masks" / "a.png") as written:
        np.testing.assert_array_equal(stack[0] > 0, np.asarray(written) > 0)
    assert (place / "b" / "c.tif").exists()


def test_candidates_that_are_others_today_are_refused(fakes, pictures: Path, tmp_path: Path) -> None:
    class Otherwise(fakes.Threshold):
        def predict(self, case):
            found = super().predict(case)
            return replace(found, pool=replace(found.pool, areas=found.pool.areas + 1))

    config = fakes.config(dataset=DatasetConfig(name="own", layout="folder", root=str(tmp_path / "data")))
    config.dataset.resize = Resize(side=32)
    lab = fakes.FakeLab([], Otherwise())
    lab.cases = open_dataset(replace(config.dataset, missing_masks=MissingMasks.predict), seed=1)
    with pytest.raises(DataError, match="a: computed anew its candidates are others"):
        export_candidates(read_run(pictures).records, config, pictures, tmp_path / "export", lab)
    bare = [replace(each, candidates_sha256=None) for each in read_run(pictures).records]
    with pytest.raises(DataError, match="holds no candidates"):
        export_candidates(bare, config, pictures, tmp_path / "export", lab)


def test_what_is_no_finished_run_is_refused(fakes, pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no finished run"):
        exported(tmp_path, tmp_path / "export")
    assert fakes.run_fake(tmp_path / "bare") == 0
    with pytest.raises(DataError, match="does not tell the sizes of images"):
        exported(tmp_path / "bare", tmp_path / "export")
    prediction = next((pictures / "predictions").glob("a*"))
    prediction.write_bytes(prediction.read_bytes() + b"x")
    with pytest.raises(DataError, match="was changed after it was scored"):
        exported(pictures, tmp_path / "export")
    assert len(read_run(pictures).records) == 2
