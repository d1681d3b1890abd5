"""Broken data through the command line: named by `task=check`, failed alone in a run, mended by a rerun."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.ci

VOLUME = np.random.default_rng(0).integers(1, 900, (3, 64, 64)).astype(np.int16)
TARGET = np.zeros((3, 64, 64), np.uint8)
TARGET[:, 20:40, 20:40] = 1


def volume(root: Path, name: str, values: np.ndarray, target: np.ndarray = TARGET, shift: float = 0) -> Path:
    """A NIfTI volume of three slices with its mask, which may lie elsewhere."""
    for part, array, move in (("masks", target, shift), ("images", values, 0.0)):
        affine = np.diag([8.0, 1, 1, 1])
        affine[:3, 3] = move
        suffix = "_mask" if part == "masks" else ""
        (root / part).mkdir(parents=True, exist_ok=True)
        path = root / part / f"{name}{suffix}.nii.gz"
        nib.save(nib.Nifti1Image(array, affine), path)
    return path


def break_all(root: Path, helpers: Any) -> None:
    """One case for each row, beside four good ones."""
    add, save = helpers.add, helpers.save
    cut = volume(root, "cut_volume", VOLUME)
    cut.write_bytes(cut.read_bytes()[:-4000])
    nan = VOLUME.astype(np.float32)
    nan[1, 5, 5] = np.nan
    volume(root, "nan_volume", nan)
    volume(root, "moved_volume", VOLUME, shift=40)
    volume(root, "four_volume", np.stack([VOLUME, VOLUME], axis=3))
    picture = add(root, "cut_picture", 1)
    picture.write_bytes(picture.read_bytes()[:900])
    add(root, "zero_picture", 2).write_bytes(b"")
    add(root, "text_picture", 3).write_text("this is no picture")
    (root / "masks" / f"{add(root, 'no_mask', 4).stem}_mask.png").unlink()
    add(root, "other_shape", 5)
    save(root / "masks" / "other_shape_mask.png", np.full((64, 1), 255, np.uint8))
    add(root, "empty_mask", 6)
    save(root / "masks" / "empty_mask_mask.png", np.zeros((64, 64), np.uint8))
    add(root, "three_labels", 7)
    labels = np.zeros((64, 64), np.uint8)
    labels[10:30], labels[30:50] = 1, 2
    save(root / "masks" / "three_labels_mask.png", labels)
    add(root, "constant", 8)
    save(root / "images" / "constant.png", np.full((64, 64), 90, np.uint8))
    add(root, "see through", 9)
    image, mask = helpers.oval(9)
    save(root / "images" / "see through.png", Image.merge("LA", [Image.fromarray(image), Image.fromarray(mask)]))
    add(root, "<script>&é", 10)
    outside = save(root.parent / "outside" / "secret.png", image)
    for name, target in (("leads_out", outside), ("broken_link", root / "nowhere.png")):
        add(root, name, 11).unlink()
        (root / "images" / f"{name}.png").symlink_to(target)


ARGUMENTS = ("dataset.volume.trim_mm=0", "dataset.volume.per_volume=1", "dataset.missing_masks=exclude")


@pytest.fixture(scope="module")
def broken(helpers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The check and the run of a folder in which every kind of fault lies beside four good images."""
    place = tmp_path_factory.mktemp("broken")
    break_all(helpers.good(place / "data"), helpers)
    helpers.good(place / "sound")
    common = (*helpers.FOLDER, *ARGUMENTS, f"cache.folder={place / 'cache'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        run = helpers.program(*common, "dataset.root=data", "hydra.run.dir=run", cwd=place)
        check = helpers.program(*common, "dataset.root=data", "task=check", "check.json=true", cwd=place)
        sound = helpers.program(*common, "dataset.root=sound", "hydra.run.dir=alone", cwd=place)
    return SimpleNamespace(place=place, run=run, check=check, sound=sound, common=common)


FAILED = {
    "D1": ("cut_volume", "E_READ"),
    "D2": ("cut_picture", "E_READ"),
    "D4": ("other_shape", "E_SHAPE"),
    "D6": ("three_labels", "E_LABELS"),
    "D8": ("nan_volume", "E_NONFINITE"),
    "D10": ("four_volume", "E_DIMS"),
    "D11": ("moved_volume", "E_AFFINE"),
}


def of_case(table: dict[str, dict[str, str]], name: str) -> dict[str, str]:
    """The row of a picture, or of a volume's one slice."""
    return next(row for case_id, row in table.items() if case_id.partition("/")[0] == name)


@pytest.mark.parametrize("row", [pytest.param(each, marks=pytest.mark.fault(each)) for each in FAILED])
def test_a_case_that_cannot_be_used_fails_alone_and_is_named_by_the_check(broken: Any, helpers: Any, row: str) -> None:
    name, code = FAILED[row]
    found = of_case(helpers.rows(broken.place / "run"), name)
    assert (found["status"], found["dsc"]) == (f"failed({code})", "")
    said = [each for each in json.loads(broken.check.out)["findings"] if name in each["said"]]
    assert [(each["level"], each["exit_code"]) for each in said] == [("error", 3)]
    assert code in said[0]["said"]
    assert f"{name}." in said[0]["said"] or f"{name}_mask." in said[0]["said"], "the file is named"


@pytest.mark.fault("D2")
@pytest.mark.parametrize("name", ["zero_picture", "text_picture"])
def test_what_is_no_picture_is_named_too(broken: Any, helpers: Any, name: str) -> None:
    assert of_case(helpers.rows(broken.place / "run"), name)["status"] == "failed(E_READ)"
    assert any(f"{name}.png" in each["said"] for each in json.loads(broken.check.out)["findings"])


@pytest.mark.fault("D1", "D2", "R8", "R9")
def test_the_run_ends_with_5_and_one_line_and_the_check_with_3(broken: Any) -> None:
    assert (broken.run.code, broken.check.code) == (5, 3)
    assert "9 of 17 cases failed" in broken.run.complaint
    assert broken.check.err == ""


@pytest.mark.fault("D1", "D2", "R7")
def test_the_other_cases_have_the_numbers_they_have_alone(broken: Any, helpers: Any) -> None:
    assert broken.sound.code == 0, broken.sound.err
    alone, beside = (helpers.rows(broken.place / each) for each in ("alone", "run"))
    assert len(alone) == 4
    assert {name: beside[name] for name in alone} == alone


@pytest.mark.fault("D3")
def test_an_image_without_mask_is_left_out_by_name_and_counted(broken: Any, helpers: Any) -> None:
    manifest = json.loads((broken.place / "run" / "manifest.json").read_text())["data"]
    assert {"case_id": "no_mask", "reason": "no mask"} in manifest["excluded"]
    assert (manifest["n_found"], manifest["n_used"], manifest["n_excluded"]) == (20, 17, 3)
    said = [each["said"] for each in json.loads(broken.check.out)["findings"]]
    assert "no_mask is left out: no mask" in said
    assert any("8 of 20 images found can be used" in each for each in said)


@pytest.mark.fault("D3")
def test_a_missing_mask_ends_with_3_where_that_is_wanted(typed: Any, data: Path, folder: tuple[str, ...]) -> None:
    (data / "masks" / "good_1_mask.png").unlink()
    for task in ("run", "check"):
        ended = typed(*folder, f"dataset.root={data}", "dataset.missing_masks=error", f"task={task}")
        assert ended.code == 3
        assert "1 image has no mask (good_1)" in " ".join((ended.out + ended.err).split())


@pytest.mark.fault("D5", "R7")
def test_an_empty_mask_is_a_status_and_no_number(broken: Any, helpers: Any) -> None:
    found = of_case(helpers.rows(broken.place / "run"), "empty_mask")
    assert found["status"] == "empty_gt"
    said = [each for each in json.loads(broken.check.out)["findings"] if "empty (empty_mask)" in each["said"]]
    assert [each["level"] for each in said] == ["warn"]
    assert np.isfinite(helpers.summary(broken.place / "run")["overall"]["dsc"]["mean"])


@pytest.mark.fault("D9", "D14")
@pytest.mark.parametrize(("name", "note"), [("constant", "constant image"), ("see through", "alpha dropped")])
def test_what_was_done_to_an_image_is_noted_by_run_and_check(broken: Any, helpers: Any, name: str, note: str) -> None:
    assert not of_case(helpers.rows(broken.place / "run"), name)["status"].startswith("failed")
    records = [json.loads(path.read_text()) for path in (broken.place / "run" / "cases").glob("*.json")]
    assert next(each["notes"] for each in records if each["case_id"] == name) == [note]
    assert any(note in each["said"] and name in each["said"] for each in json.loads(broken.check.out)["findings"])


@pytest.mark.fault("D15", "R10")
@pytest.mark.parametrize("name", ["leads_out", "broken_link"])
def test_links_that_leave_the_root_or_lead_nowhere_are_not_followed(broken: Any, helpers: Any, name: str) -> None:
    assert name not in helpers.rows(broken.place / "run")
    said = [each for each in json.loads(broken.check.out)["findings"] if each["said"].startswith(f"{name}:")]
    assert [(each["level"], "E_PATH" in each["said"]) for each in said] == [("error", True)]


@pytest.mark.fault("D16")
def test_two_files_of_one_id_end_with_3_and_both_names(typed: Any, data: Path, folder: tuple[str, ...], helpers: Any):
    helpers.save(data / "images" / "good_2.jpg", helpers.oval(2)[0])
    for task in ("run", "check"):
        ended = typed(*folder, f"dataset.root={data}", f"task={task}")
        assert ended.code == 3
        said = "".join((ended.out + ended.err).split())
        assert "good_2.jpg" in said
        assert "good_2.png" in said


@pytest.mark.fault("D17")
@pytest.mark.parametrize("place", ["empty", "nowhere", "data/images/good_0.png"])
def test_a_folder_without_images_ends_with_3_and_the_layout(
    typed: Any, data: Path, tmp_path: Path, folder: tuple[str, ...], place: str
) -> None:
    (tmp_path / "empty").mkdir()
    for task in ("run", "check"):
        ended = typed(*folder, f"dataset.root={place}", f"task={task}")
        assert ended.code == 3
        said = "is a file: dataset.root=" if place.endswith(".png") else "wants images/"
        assert said in " ".join((ended.out + ended.err).replace("│", "").split())


@pytest.mark.fault("D18", "R10")
def test_a_hostile_name_stays_a_name(broken: Any, helpers: Any) -> None:
    run = broken.place / "run"
    assert of_case(helpers.rows(run), "<script>&é")["status"] == "ok"
    assert "<script>&" not in (run / "report.html").read_text()
    names = [path.name for path in (run / "cases").iterdir()]
    assert all(name.isascii() and "<" not in name for name in names)


@pytest.mark.fault("D19", "R2")
def test_an_image_edited_between_stop_and_resume_is_done_again_and_noted(
    typed: Any, data: Path, folder: tuple[str, ...], helpers: Any, tmp_path: Path
) -> None:
    arguments = (*folder, f"dataset.root={data}", "cache=off", "hydra.run.dir=mine")
    assert typed(*arguments).code == 0
    before = helpers.rows(tmp_path / "mine")
    (tmp_path / "mine" / "summary.json").unlink()  # as a run that was killed at its end leaves its folder
    helpers.save(data / "images" / "good_1.png", helpers.oval(9)[0])
    assert typed(*arguments, "resume=true").code == 0
    after = helpers.rows(tmp_path / "mine")
    redone = json.loads((tmp_path / "mine" / "manifest.json").read_text())["resumed"]
    assert redone["reused"] == 3
    assert [(each["case_id"], "another image" in each["reason"]) for each in redone["redone"]] == [("good_1", True)]
    assert {name: row for name, row in after.items() if name != "good_1"} == {
        name: row for name, row in before.items() if name != "good_1"
    }


@pytest.mark.fault("D1", "D2", "D4", "D6", "D8", "D10", "D11")
def test_a_rerun_after_mending_works_and_repeats_what_was_right(broken: Any, helpers: Any) -> None:
    place = broken.place
    shutil.copytree(place / "data", place / "mended", symlinks=True)
    for number, name in enumerate(("cut_picture", "zero_picture", "text_picture", "other_shape", "three_labels")):
        helpers.add(place / "mended", name, number)
    for name in ("cut_volume", "nan_volume", "moved_volume", "four_volume"):
        volume(place / "mended", name, VOLUME)
    ended = helpers.program(*broken.common, "dataset.root=mended", "hydra.run.dir=again", cwd=place)
    assert ended.code == 0, ended.err
    before, after = (helpers.rows(place / each) for each in ("run", "again"))
    assert len(after) == len(before) == 17
    right = {name: row for name, row in before.items() if not row["status"].startswith("failed")}
    assert {name: after[name] for name in right} == right


@pytest.mark.fault("D1")
def test_a_volume_that_is_cut_short_anywhere_is_refused_whole(tmp_path: Path) -> None:
    from salip_exp.data.volumes import read_volume
    from salip_exp.errors import CaseError

    path = volume(tmp_path, "v", VOLUME)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(CaseError, match=r"E_READ|cannot be read|cut short"):
            read_volume(path)
    path.write_bytes(gzip.compress(gzip.decompress(whole)[:-100]))
    with pytest.raises(CaseError, match=r"cut short|cannot be read"):
        read_volume(path)
