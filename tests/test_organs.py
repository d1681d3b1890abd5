"""A run for each organ: each whole in its folder, one table over them, continued by the same command."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from salip_exp import _several
from salip_exp._commands import check
from salip_exp._commands.run import command
from salip_exp._runs.folder import find_runs
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import is_part, run_name, way_on
from salip_exp._settings.validate import typed
from salip_exp.config import Config, Task
from salip_exp.errors import TooManyFailures

LABELS = "dataset.files.labels={liver: 1, two spleens: {label: 3, k: 2}}"


@pytest.fixture
def organs(tmp_path: Path) -> list[str]:
    """Overrides for a volume of two organs, with a dataset.json."""
    where = np.mgrid[:40, :36, :8]
    values = np.zeros(where.shape[1:], np.uint8)
    for (x, y, r), number in (((12, 12, 8), 1), ((30, 8, 5), 3), ((30, 26, 5), 3)):
        values[(where[0] - x) ** 2 + (where[1] - y) ** 2 < r**2] = number
    for name, array in (("imagesTr/a_0000", values * np.int16(60)), ("labelsTr/a", values)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(array, np.diag([1, 1, 3, 1])), tmp_path / f"{name}.nii.gz")
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "liver": 1, "spleen": 3}}))
    layout = ["dataset=folder", f"dataset.root={tmp_path}", "dataset.files.layout=nnunet", "method=gt_sam"]
    return [*layout, "sam=tiny", "clip=tiny", "dataset.volume.axis=axial", "dataset.volume.per_volume=2"]


def test_each_organ_is_a_whole_run_and_one_table_stands_over_them(
    fakes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = []

    def execute(config: Config, folder: Path, command: Sequence[str], *_: Any, **__: Any) -> int:
        files = config.dataset.files
        told.append((folder.name, files.label, config.dataset.k, config.dataset.roi, files.labels))
        cases = [fakes.make_case(10 * config.dataset.k + i, f"case_{i}") for i in range(4)]
        return 130 if stopped[0] else fakes.run_fake(folder, cases, resume=True)

    monkeypatch.setattr(_several, "execute", execute)
    stopped, folder = [True], tmp_path / "fake" / "organs" / "default"
    asked = fakes.config(method="gt_sam")
    asked.dataset.files.labels = {"liver": 1, "kidneys": {"label": 2, "k": 2}}
    assert command(asked, folder, ["x"]) == 130 and not (folder / "organs.json").exists()
    (folder / "organ").mkdir(exist_ok=True)
    assert way_on(Task.run, folder) == "the same command continues"
    stopped[0] = False
    assert command(asked, folder, ["x"]) == 0
    assert told[1:] == [("liver", 1, 1, "liver", None), ("kidneys", 2, 2, "kidneys", None)]
    content = json.loads((folder / "organs.json").read_text("utf-8"))
    for name, each in content["organs"].items():
        summary = json.loads((folder / each["run"] / "summary.json").read_text("utf-8"))
        assert each["overall"] == summary["overall"] and each["groups"] == summary["groups"], name
    table = pd.read_csv(folder / "organs.csv").set_index(["organ", "group"])
    assert table.loc[("kidneys", "all"), "dsc"] == content["organs"]["kidneys"]["overall"]["dsc"]["mean"]
    assert table.loc[("kidneys", "all"), "label"] == 2 and table.loc[("liver", "all"), "n"] == 4
    printed = capsys.readouterr().out
    assert all(f"{each['overall']['dsc']['mean']:.3f} ±" in printed for each in content["organs"].values())
    assert all(is_part(each.folder) for each in find_runs(tmp_path))


def test_an_organ_with_too_many_failures_costs_the_others_nothing(
    fakes: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(config: Config, folder: Path, command: Sequence[str], *_: Any, **__: Any) -> int:
        fakes.run_fake(folder, [fakes.make_case(i, f"case_{i}") for i in range(4)], resume=True)
        if folder.name == "liver":
            raise TooManyFailures("liver: 4 of 4 cases failed")
        return 0

    monkeypatch.setattr(_several, "execute", execute)
    asked = fakes.config(method="gt_sam")
    asked.dataset.files.labels = {"liver": 1, "spleen": 2}
    with pytest.raises(TooManyFailures, match="liver: 4 of 4"):
        command(asked, tmp_path / "organs", ["x"])
    assert {*json.loads((tmp_path / "organs" / "organs.json").read_text("utf-8"))["organs"]} == {"liver", "spleen"}
    assert capsys.readouterr().out.count("spleen") > 1, "a line, and a row of the table"


def test_they_have_one_folder_for_good() -> None:
    name = run_name("o", "folder", Task.run, ["dataset=folder", "dataset.files.labels={a: 1, b: 2}"], False)
    assert name == str(Path("folder", "organs", "dataset.files.labels-a-1-b-2"))


@pytest.mark.ci
def test_masks_of_each_organ_hold_its_number(organs: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert command(typed(compose([*organs, LABELS, "figures=none", "progress=false"])), folder, ["x"]) == 0
    for name, number in (("liver", 1), ("two spleens", 3)):
        written = np.asarray(nib.load(folder / "organ" / name / "masks" / "a.nii.gz").dataobj)
        assert set(np.unique(written)) == {0, number}
    found = json.loads((folder / "organs.json").read_text("utf-8"))["organs"]
    assert min(each["overall"]["dsc"]["mean"] for each in found.values()) > 0.8


def test_a_check_looks_at_each_organ_and_names_what_is_its_own(organs: list[str]) -> None:
    told = [each.said for each in check.findings(typed(compose([*organs, LABELS, "progress=false"])))]
    assert [each.partition(":")[0] for each in told if "images found can be used" in each] == ["liver", "two spleens"]
    assert len(told) == len(set(told))


def test_labels_of_which_none_is_chosen_are_called_as_dataset_json_calls_them(organs: list[str]) -> None:
    told = [each.said for each in check.findings(typed(compose([*organs, "progress=false"])))]
    (said,) = (each for each in told if "E_LABELS" in each)
    assert "labels 1, 3" in said and said.endswith(
        "dataset.json calls them 1 liver, 3 spleen; dataset.files.labels=[liver,spleen] is a run of each."
    )
    named = typed(compose([*organs, "dataset.files.labels=[liver,spleen]", "progress=false"]))
    assert not [each.said for each in check.findings(named) if each.exit_code]
