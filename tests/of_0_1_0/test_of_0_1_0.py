"""What 0.1.0 wrote is read, shown, continued and not done again: runs, a study, a training, a table.

`outputs.zip` holds four ovals (`data/`), eight heads (`heads/`) and what its commands left of them, without pages,
logs and most pictures. The commands stand below as they were typed.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from salip_exp import cli
from salip_exp._runs.lab import Lab
from salip_exp._runs.summary import BELIEFS
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed as typed_config
from salip_exp._tuning.tune import study_in
from salip_exp.errors import EnvironmentFault

QUICK = ("sam=tiny", "clip=tiny", "sam.points_per_side=4", "dataset.resize.side=64", "score.resamples=100",
         "progress=false", "device=cpu", "threads=1", "cache=memory")  # fmt: skip
FOLDER = ("dataset=folder", "dataset.root=data", 'vdt.sentences=["a bright oval on black"]', *QUICK)
HEADS = ("dataset=hc18", "dataset.root=heads", *QUICK)
KILLED = (*FOLDER, "figures=none", "area.threshold=0.5")
STUDY = ("task=tune", "tuning=random", "tuning.images=2", "tuning.draws=1", "tuning.held_out=2", *HEADS)
TRAINING = ("task=train", "method=unet", "unet.side=16", "unet.channels=[4,8]", "unet.epochs=2", "unet.epoch_images=1",
            "figures=none", *HEADS)  # fmt: skip
TABLE = ("+experiment=table6", "data=real", "experiment.roots.hc18=heads", "figures=none", *QUICK)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the old program was started, and where the new one is now."""
    with zipfile.ZipFile(Path(__file__).with_name("outputs.zip")) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def typed(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Type a command; what it printed."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["salip-exp", *arguments])
        capsys.readouterr()
        code = cli.command()
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return run


def one(place: Path, pattern: str) -> Path:
    (found,) = place.glob(pattern)
    return found


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        table = list(csv.DictReader(stream))
    new = ("seconds_", "subject", "lost_", "failure", "image", "mask", "prediction", "score_at", *BELIEFS)
    new += ("confidence", "dsc_at_least", "flag", "stress", "repaired", "dsc_before", "roi_recall")
    return [{name: value for name, value in row.items() if not name.startswith(new)} for row in table]


@pytest.mark.ci
def test_the_report_shows_all_of_it_as_what_it_is(place: Path, typed: Callable[..., str]) -> None:
    said = typed("task=report", "report.strict=true")
    assert "killed" in said and "damaged" not in said
    index = (place / "outputs" / "index.html").read_text()
    assert index.count(">finished</span>") >= 3 and index.count(">killed</span>") == 1
    page = one(place, "outputs/folder/*worst-1*/*/report.html").read_text()
    assert "good_1" in page and "data:image/jpeg" in page
    assert '"n":' in (place / "outputs" / "compare.html").read_text().replace(" ", "")


@pytest.mark.ci
def test_a_run_of_today_gives_the_same_table(place: Path, typed: Callable[..., str]) -> None:
    typed(*FOLDER, "figures=worst:1", "outputs=new")
    old, new = (one(place, f"{top}/folder/*worst-1*/*/cases.csv") for top in ("outputs", "new"))
    assert rows(old) == rows(new)
    summaries = [json.loads(path.with_name("summary.json").read_text()) for path in (old, new)]
    others = {"definitions", "overall", "groups", "gap", "networks"}  # intervals, and weights by file and hash
    same = set(summaries[0]) & set(summaries[1]) - others
    assert {name: summaries[0][name] for name in same} == {name: summaries[1][name] for name in same}
    parts = [each["overall"] for each in summaries]
    assert all(parts[0][name] == parts[1][name] for name in ("cases", "statuses"))
    for score in ("dsc", "iou", "nsd"):
        assert all(parts[0][score][name] == parts[1][score][name] for name in ("n", "missing", "mean", "sd"))


@pytest.mark.ci
def test_a_run_that_was_killed_is_continued_from_its_records(place: Path, typed: Callable[..., str]) -> None:
    run = one(place, "outputs/folder/area.threshold-0.5*/*")
    before = {path.name: path.read_bytes() for path in (run / "cases").glob("*.json")}
    assert len(before) == 2
    typed(*KILLED, "resume=true")
    assert len(rows(run / "cases.csv")) == 4
    assert json.loads((run / "manifest.json").read_text())["resumed"] == {"reused": 2, "redone": [], "gone": []}
    assert {name: (run / "cases" / name).read_bytes() for name in before} == before


@pytest.mark.ci
def test_a_study_goes_on_from_its_trials(place: Path, typed: Callable[..., str]) -> None:
    study = one(place, "outputs/hc18/tune/*")
    before = rows(study / "trials.csv")
    typed(*STUDY, "tuning.n_trials=6")
    after = rows(study / "trials.csv")
    assert after[:4] == before and len(after) == 6
    report = json.loads((study / "study.json").read_text())
    assert report["search"]["done"] == 2
    assert any("begun by 0.1.0" in note for note in report["notes"])


@pytest.mark.ci
def test_a_study_of_other_images_is_not_continued(place: Path) -> None:
    study = one(place, "outputs/hc18/tune/*")
    before = (study / "study.db").read_bytes()
    with pytest.raises(EnvironmentFault, match=r"holds another study \(hc18-random-"):
        study_in(typed_config(compose([*STUDY, "tuning.images=3"])), study, Lab())
    assert (study / "study.db").read_bytes() == before


@pytest.mark.ci
def test_a_complete_training_is_left_as_it_is_and_its_weights_are_found(place: Path, typed: Callable[..., str]) -> None:
    training = one(place, "outputs/hc18/train/*")
    before = {path.name: path.stat().st_mtime_ns for path in training.iterdir() if path.is_file()}
    typed(*TRAINING)
    after = {path.name: path.stat().st_mtime_ns for path in training.iterdir() if path.name in before}
    assert before == {name: time for name, time in after.items() if name in before}
    typed(*TRAINING[1:])
    scored = one(place, "outputs/hc18/*/*/cases.csv")
    today, then = rows(scored), rows(training / "test" / "cases.csv")
    for row in (*today, *then):  # circumferences are measured otherwise since
        del row["hc_mm"], row["hc_error_mm"]
    assert today == then


def figures(told: Any) -> Any:
    """What a table shows, without intervals and p-values, which are worked out in another way than then."""
    if isinstance(told, list):
        return [figures(each) for each in told]
    if not isinstance(told, dict):
        return told
    others = ("low", "high", "interval", "p", "p_holm", "notes", "reading", "losses")
    others += ("rankings", "cost", "differing")  # not there then
    return {name: figures(value) for name, value in told.items() if name not in others}


@pytest.mark.ci
def test_cells_that_are_finished_are_not_run_again(place: Path, typed: Callable[..., str]) -> None:
    folder = one(place, "outputs/experiments/table6*")
    before = json.loads((folder / "study.json").read_text())
    cells = {path: path.stat().st_mtime_ns for path in place.glob("outputs/cells/*/*/*/cases/*.json")}
    assert cells
    typed(*TABLE)
    after = json.loads((folder / "study.json").read_text())
    assert figures(after["tables"]) == figures(before["tables"])
    assert after["counters"] == before["counters"]
    assert {path: path.stat().st_mtime_ns for path in place.glob("outputs/cells/*/*/*/cases/*.json")} == cells
