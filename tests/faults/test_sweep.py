"""Studies and reports over damage: one line that names the file, nothing overwritten, no absent figure as 0."""

from __future__ import annotations

import json
import random
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from salip_exp._tuning.tune import study_in
from salip_exp.cache.store import MemoryStore
from salip_exp.errors import EnvironmentFault

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def stubs(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(TESTS / "tuning" / "stubs.py")


@pytest.fixture(scope="module")
def study(
    stubs: ModuleType, blob_sam: Any, random_clip: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Callable[..., Any]]:
    """A study of six trials in its folder, and what continues it."""
    folder = tmp_path_factory.mktemp("sweep") / "study"
    lab = stubs.StubLab(blob_sam, random_clip, store=MemoryStore(2**28))

    def go_on(place: Path, trials: int) -> Any:
        return study_in(stubs.config(n_trials=trials, lock_wait_s=0.5), place, lab)

    go_on(folder, 6)
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder, go_on


def copied(study: Path, place: Path) -> Path:
    shutil.copytree(study, place)
    for rest in ("study.db-wal", "study.db-shm"):
        (place / rest).unlink(missing_ok=True)
    return place / "study.db"


@pytest.mark.fault("S2", "R3")
@pytest.mark.parametrize("keep", [0.05, 0.6])
def test_a_torn_database_is_one_sentence_that_names_it_and_is_left_as_it_is(
    study: Any, tmp_path: Path, keep: float
) -> None:
    database = copied(study[0], tmp_path / "study")
    torn = database.read_bytes()[: int(database.stat().st_size * keep)]
    database.write_bytes(torn)
    with pytest.raises(EnvironmentFault, match=r"study\.db cannot be used") as caught:
        study[1](tmp_path / "study", 8)
    assert caught.value.exit_code == 6
    assert "\n" not in str(caught.value)
    assert database.read_bytes() == torn


@pytest.mark.slow
@pytest.mark.fault("S2", "R3")
def test_damage_anywhere_in_a_database_is_named_or_does_no_harm(study: Any, tmp_path: Path) -> None:
    rng, refused = random.Random(3), []
    for number in range(6):
        database = copied(study[0], tmp_path / f"study{number}")
        content = bytearray(database.read_bytes())
        for _ in range(40):
            start = rng.randrange(len(content) - 64)
            content[start : start + 64] = rng.randbytes(64)
        database.write_bytes(content)
        try:
            study[1](tmp_path / f"study{number}", 8)
        except EnvironmentFault as error:
            refused.append(str(error))
    assert refused
    assert all("study.db" in each for each in refused)


@pytest.mark.fault("S2")
def test_a_journal_is_no_storage_and_is_refused_before_anything_is_loaded(typed: Any, tmp_path: Path) -> None:
    """Optuna's journal files, which a torn tail makes unreadable for good, are not used: studies are SQL databases."""
    (tmp_path / "journal.log").write_text('{"op_code": 0\n')
    heads = ("dataset=phantom_hc18", "dataset.phantom.n=5")
    ended = typed("task=tune", *heads, "tuning.storage=journal.log", "progress=false", "device=cpu")
    assert ended.code == 2
    assert "tuning.storage=journal.log cannot be used" in ended.complaint
    assert (tmp_path / "journal.log").read_text() == '{"op_code": 0\n'


@pytest.mark.fault("S3")
def test_a_database_that_another_process_holds_ends_with_6_and_the_study_continues_later(
    study: Any, tmp_path: Path
) -> None:
    database = copied(study[0], tmp_path / "study")
    with closing(sqlite3.connect(database)) as holder:
        holder.execute("PRAGMA journal_mode=DELETE")
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(EnvironmentFault, match=r"study\.db cannot be used .*locked.*lock_wait_s=0\.5"):
            study[1](tmp_path / "study", 8)
    assert study[1](tmp_path / "study", 8).report["trials"]["total"] == 8


@pytest.mark.ci
@pytest.mark.fault("S4", "R8")
def test_a_study_in_which_every_trial_fails_ends_with_5_and_the_reasons_and_the_report_still_builds(
    typed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fakes: ModuleType
) -> None:
    from salip_exp._tuning.worker import Workbench
    from salip_exp.errors import CaseError

    def fail(*_: Any) -> Any:
        raise CaseError("E_SCORE", "a score is not finite")

    monkeypatch.setattr(Workbench, "outcome", fail)
    small = ("dataset=phantom_hc18", "dataset.phantom.n=6", "tuning.space.points_per_side.choices=[4]", "device=cpu")
    ended = typed("task=tune", *small, "tuning.n_trials=3", "progress=false", "threads=1")
    assert ended.code == 5
    assert "all 3 failed: 3 x E_SCORE: a score is not finite" in ended.complaint
    fakes.run_fake(tmp_path / "outputs" / "fake" / "default" / "1")
    reported = typed("task=report")
    assert (reported.code, reported.err) == (0, "")


@pytest.fixture
def reported(fakes: ModuleType, tmp_path: Path) -> Path:
    """Three runs below outputs/: whole, without its end, and with a record that is cut short."""
    outputs = tmp_path / "outputs" / "fake"
    for name in ("whole", "partial", "damaged"):
        fakes.run_fake(outputs / name / "1")
    (outputs / "partial" / "1" / "summary.json").unlink()
    (outputs / "partial" / "1" / "cases" / "case_05.json").unlink()
    record = outputs / "damaged" / "1" / "cases" / "case_03.json"
    record.write_text(record.read_text()[:100])
    return outputs


@pytest.mark.fault("S5", "S6")
def test_runs_that_are_not_whole_are_shown_as_what_they_are_and_never_as_0(typed: Any, reported: Path) -> None:
    ended = typed("task=report")
    assert ended.code == 0, ended.err
    index = (reported.parent / "index.html").read_text()
    assert "missing" in index
    assert "0.000" not in re.sub(r"between groups[^<]*", "", index), "but for the end of an interval"
    for name in ("finished", "damaged"):
        assert f">{name}</span>" in index


@pytest.mark.fault("S6", "R8")
@pytest.mark.ci
def test_a_record_that_cannot_be_read_ends_a_strict_report_with_5(typed: Any, reported: Path) -> None:
    ended = typed("task=report", "report.strict=true")
    assert ended.code == 5
    assert ended.complaint
    for name in ("damaged", "partial"):
        shutil.rmtree(reported / name)
    assert typed("task=report", "report.strict=true").code == 0


@pytest.mark.fault("S6")
def test_a_record_of_another_version_is_done_again(fakes: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    fakes.run_fake(folder)
    before = fakes.rows_without_seconds(folder)
    path = folder / "cases" / "case_02.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 99}))
    assert fakes.run_fake(folder, resume=True) == 0
    assert fakes.rows_without_seconds(folder) == before
    redone = json.loads((folder / "manifest.json").read_text())["resumed"]["redone"]
    assert redone == [{"case_id": "case_02", "reason": "is of another version"}]
