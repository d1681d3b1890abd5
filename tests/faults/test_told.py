"""What reading and preprocessing lose is told: at the start, under the table, on the page, by check and manifest."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from salip_exp._checks.inputs import look
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed as checked
from salip_exp.data.case import Dataset
from salip_exp.data.datasets import open_dataset

pytestmark = pytest.mark.ci

GT = "method=gt_sam"


def spot(root: Path, name: str, side: int = 512, radius: int = 1) -> None:
    """An image of which the target is gone at 64 pixels, where the tests work."""
    y, x = np.mgrid[:side, :side]
    mask = (y - side // 3) ** 2 + (x - side // 2) ** 2 <= radius**2
    for part, suffix in (("images", ""), ("masks", "_mask")):
        (root / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.where(mask, 190, 40 if part == "images" else 0).astype(np.uint8)).save(
            root / part / f"{name}{suffix}.png"
        )


def finding(said: str, words: str) -> dict[str, Any]:
    """The one finding of a check, as JSON, that holds some words."""
    (found,) = [each for each in json.loads(said)["findings"] if words in each["said"]]
    return dict(found)


def manifest(run: Path) -> dict[str, Any]:
    return json.loads((run / "manifest.json").read_text())["data"]  # type: ignore[no-any-return]


def everywhere(ended: Any, run: Path, sentence: str) -> None:
    """Asserts that a run tells something at its start, under its table, on its page and in its manifest."""
    start, _, table = ended.out.partition("┏")
    assert sentence in " ".join(start.split())
    assert sentence in " ".join(table.split())
    page = (run / "report.html").read_text().partition("<h2>Manifest")[0]
    assert sentence.replace("'", "&#39;") in page
    assert any(sentence in each["said"] for each in manifest(run)["left_out"])


@pytest.mark.fault("T1")
@pytest.mark.parametrize("method", ["gt_sam", "salip", "oracle"])
def test_a_target_that_vanishes_fails_and_is_never_empty(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path, helpers: Any, method: str
) -> None:
    spot(data, "lesion")
    arguments = (*folder, f"dataset.root={data}", f"method={method}")
    ended = typed(*arguments, "hydra.run.dir=run")
    assert ended.code == 5
    row = helpers.rows(tmp_path / "run")["lesion"]
    assert (row["status"], row["dsc"]) == ("failed(E_VANISHED)", "")
    assert (
        "5 of 512 x 512 pixels, vanishes when they are resized to 64 x 64: set dataset.resize.side=" in row["message"]
    )
    assert helpers.summary(tmp_path / "run")["overall"]["statuses"]["failed(E_VANISHED)"] == 1
    told = "1 target vanishes at working size (lesion)"
    assert any(note.startswith(told) for note in helpers.summary(tmp_path / "run")["notes"])
    assert ended.out.count(told) == 1
    assert any(
        each["said"].startswith(told) and each["names"] == ["lesion"] for each in manifest(tmp_path / "run")["left_out"]
    )


@pytest.mark.fault("T8")
def test_a_target_that_loses_some_of_its_regions_is_told(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path, helpers: Any
) -> None:
    spot(data, "two", radius=60)
    mask = np.asarray(Image.open(data / "masks" / "two_mask.png")).copy()
    mask[500, 20] = 190
    Image.fromarray(mask).save(data / "masks" / "two_mask.png")
    arguments = (*folder, f"dataset.root={data}")
    ended = typed(*arguments, "hydra.run.dir=run")
    assert ended.code == 0 and helpers.rows(tmp_path / "run")["two"]["status"] == "ok"
    told = "1 target loses regions at working size (two): they are scored without them"
    assert any(note.startswith(told) for note in helpers.summary(tmp_path / "run")["notes"])
    assert [each["names"] for each in manifest(tmp_path / "run")["left_out"] if each["kind"] == "regions"] == [["two"]]
    assert " ".join(ended.out.split()).count(told) == 1
    assert told in (tmp_path / "run" / "report.html").read_text()
    found = finding(typed(*arguments, "task=check", "check.json=true").out, "regions of the target vanish")
    assert (found["level"], found["said"]) == ("warn", "1 image: regions of the target vanish at working size (two)")


@pytest.mark.fault("T1")
def test_the_check_finds_it_with_a_setting_that_helps(typed: Any, data: Path, folder: tuple[str, ...]) -> None:
    spot(data, "lesion")
    spot(data, "speck", radius=0)
    arguments = (*folder, f"dataset.root={data}", "task=check", "check.json=true")
    found = finding(typed(*arguments).out, "E_VANISHED")
    assert (found["level"], found["exit_code"]) == ("error", 3)
    assert found["said"].startswith("lesion: E_VANISHED")
    remedy = found["said"].partition("2 targets vanish (lesion, speck): ")[2].split()[0]
    ended = typed(*arguments, remedy)
    assert ended.code == 0
    assert "vanish" not in ended.out


@pytest.mark.fault("T1")
def test_the_setting_that_is_named_for_one_target_helps(
    typed: Any, tmp_path: Path, folder: tuple[str, ...], helpers: Any
) -> None:
    spot(tmp_path / "data", "lesion", radius=3)
    arguments = (*folder, "dataset.root=data", GT)
    message = typed(*arguments).complaint
    remedy = message.partition("64 x 64: set ")[2].split()[0]
    assert remedy == "dataset.resize.side=128"
    assert typed(*arguments, remedy, "hydra.run.dir=again").code == 0
    assert int(helpers.rows(tmp_path / "again")["lesion"]["pixels_target"]) > 0


@pytest.mark.fault("T1")
def test_slices_of_a_volume_vanish_alone(typed: Any, tmp_path: Path, folder: tuple[str, ...], helpers: Any) -> None:
    target = np.zeros((3, 256, 256), np.uint8)
    target[:, 60:160, 60:160] = 1
    target[1], target[1, 7, 7] = 0, 1
    save_volume(tmp_path / "data", "v", target)
    arguments = (*folder, "dataset.root=data", GT, "dataset.volume.trim_mm=0", "max_failed=0.5")
    ended = typed(*arguments, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    assert {name: row["status"] for name, row in helpers.rows(tmp_path / "run").items()} == {
        "v/sagittal_000": "ok", "v/sagittal_001": "failed(E_VANISHED)", "v/sagittal_002": "ok"
    }  # fmt: skip
    assert "1 target vanishes at working size (v/sagittal_001)" in " ".join(ended.out.split())
    found = json.loads(typed(*arguments, "task=check", "check.json=true").out)["findings"]
    assert [each["said"].partition(":")[0] for each in found if "E_VANISHED" in each["said"]] == ["v/sagittal_001"]
    assert any("2 of 3 images found can be used" in each["said"] for each in found)


@pytest.mark.fault("T1")
def test_a_target_that_vanishes_in_the_networks_square_is_not_learnt_as_nothing(
    typed: Any, tmp_path: Path, folder: tuple[str, ...]
) -> None:
    pytest.importorskip("monai")
    for number in range(4):
        spot(tmp_path / "data", f"good_{number}", side=256, radius=80)
    spot(tmp_path / "data", "lesion", side=256, radius=1)
    arguments = (*folder, "dataset.root=data", "dataset.resize.side=256", "method=unet", "task=train", "unet.side=32")
    ended = typed(*arguments, "hydra.run.dir=run")
    assert ended.code == 5
    assert "lesion: its target" in ended.complaint
    assert "unet.side=" in ended.complaint


@pytest.mark.fault("T1")
def test_studies_leave_it_out_by_name(typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path) -> None:
    spot(data, "lesion")
    arguments = (*folder, f"dataset.root={data}", "task=tune", "tuning.n_trials=1", "tuning.images=1", "tuning.draws=0")
    ended = typed(*arguments, "hydra.run.dir=study")
    assert ended.code == 0, ended.err
    said = json.loads((tmp_path / "study" / "study.json").read_text())["notes"]
    assert any(note.startswith("lesion is left out: E_VANISHED") for note in said)
    assert "lesion is left out: E_VANISHED" in " ".join(ended.out.split())
    assert "lesion is left out: E_VANISHED" in (tmp_path / "study" / "study.html").read_text()


@pytest.mark.fault("T2")
def test_no_organ_on_a_side_is_told_apart_from_an_empty_mask(
    typed: Any, tmp_path: Path, folder: tuple[str, ...], helpers: Any
) -> None:
    for name, left in (("both", True), ("alone", False)):
        mask = np.zeros((64, 64), np.uint8)
        mask[20:40, 6:20] = 255
        mask[20:40, 44:58] = 255 * left
        helpers.save(tmp_path / "data" / "images" / f"{name}.png", mask // 2 + 40)
        helpers.save(tmp_path / "data" / "masks" / f"{name}.png", mask)
    arguments = (*folder, "dataset.root=data", GT, "dataset.side=left")
    assert typed(*arguments, "hydra.run.dir=run").code == 0
    rows = helpers.rows(tmp_path / "run")
    assert (rows["both"]["status"], rows["alone"]["status"]) == ("ok", "empty_gt")
    assert json.loads(rows["alone"]["notes"]) == ["the mask has no organ on the left side"]
    said = typed(*arguments, "task=check", "check.json=true").out
    assert "(alone)" in finding(said, "no organ on the left side")["said"]
    assert "its target is empty" not in said


@pytest.mark.fault("T2")
def test_a_side_that_vanishes_is_no_missing_organ(
    typed: Any, tmp_path: Path, folder: tuple[str, ...], helpers: Any
) -> None:
    mask = np.zeros((256, 256), np.uint8)
    mask[60:160, 20:100], mask[100, 200] = 255, 255
    helpers.save(tmp_path / "data" / "images" / "a.png", mask // 2 + 40)
    helpers.save(tmp_path / "data" / "masks" / "a.png", mask)
    ended = typed(*folder, "dataset.root=data", GT, "dataset.side=left", "hydra.run.dir=run")
    assert ended.code == 5
    assert helpers.rows(tmp_path / "run")["a"]["status"] == "failed(E_VANISHED)"


NOT_READ = {
    "8 DICOM files are not read (images/IM0000.dcm, ": "dcm2niix",
    "2 DICOM files": "dcm2niix",
    "1 WebP picture is not read (images/b.webp)": "PNG",
    "1 GIF picture is not read (images/c.gif)": "PNG",
    "3 volumes of other kinds are not read (images/v.gipl, images/v.mgz, images/v.mnc)": ".nii.gz",
    "1 array is not read (masks/m.npy)": "nibabel",
    "1 .xyz file is not read (images/d.xyz)": "NIfTI",
    "1 mask has no image of its name (orphan)": "",
    "2 hidden files and folders are not read (images/._good_1.png, images/.old)": "dot",
}


@pytest.fixture
def littered(data: Path) -> Path:
    """Four good images, and beside them what is not read."""
    for number in range(8):
        (data / "images" / f"IM{number:04d}.dcm").write_bytes(b"\0" * 128 + b"DICM")
    for name in ("series/1.2.840.7", "series/IM1"):
        (data / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        (data / "raw" / name).write_bytes(b"\0" * 128 + b"DICM")
    for name in ("images/v.mnc", "images/v.gipl", "images/v.mgz", "masks/m.npy", "images/d.xyz", "images/._good_1.png"):
        (data / name).write_bytes(b"x")
    for name in ("b.webp", "c.gif"):
        Image.fromarray(np.zeros((8, 8), np.uint8)).save(data / "images" / name)
    (data / "images" / ".old").mkdir()
    for name in ("images/README", "images/list.csv", "notes.txt", ".DS_Store", "weights.npy"):
        (data / name).write_bytes(b"x")
    shutil.copy(data / "masks" / "good_0_mask.png", data / "masks" / "orphan_mask.png")
    return data


@pytest.mark.fault("T3", "T4")
def test_files_of_other_kinds_and_masks_without_an_image_are_told_everywhere(
    typed: Any, littered: Path, folder: tuple[str, ...], tmp_path: Path
) -> None:
    arguments = (*folder, f"dataset.root={littered}", GT)
    ended = typed(*arguments, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    kinds = {each["kind"]: each["n"] for each in manifest(tmp_path / "run")["left_out"]}
    assert kinds.keys() == {"unread", "orphans", "hidden"}
    said = [each["said"] for each in manifest(tmp_path / "run")["left_out"]]
    found = typed(*arguments, "task=check", "check.json=true")
    assert found.code == 0
    for sentence, remedy in NOT_READ.items():
        if sentence == "2 DICOM files":
            continue
        full = next(each for each in said if each.startswith(sentence.replace("8 DICOM", "10 DICOM")))
        assert remedy in full
        everywhere(ended, tmp_path / "run", full)
        assert finding(found.out, full)["level"] == "warn"
    assert len(said) == len(NOT_READ) - 1
    assert not any(name in str(said) for name in ("README", "list.csv", "notes", "DS_Store", "weights"))


@pytest.mark.fault("T3", "D17")
@pytest.mark.parametrize("emptied", ["images", "images and masks"])
def test_where_nothing_can_be_read_the_error_says_what_is_there(
    typed: Any, littered: Path, folder: tuple[str, ...], emptied: str
) -> None:
    for path in [*(littered / "images").glob("*.png"), *(littered / "masks").glob("*.png")]:
        if path.parent.name in emptied:
            path.unlink()
    for task in ("run", "check"):
        ended = typed(*folder, f"dataset.root={littered}", f"task={task}")
        said = " ".join((ended.out + ended.err).replace("│", "").split())
        assert ended.code == 3
        assert "wants images/" in said
        assert "dcm2niix" in said
        assert ("masks have no image of their name" in said) is (emptied == "images")


@pytest.mark.fault("T4", "D3")
def test_images_without_a_mask_are_told_at_the_start(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path
) -> None:
    (data / "masks" / "good_1_mask.png").unlink()
    arguments = (*folder, f"dataset.root={data}", "method=unprompted_sam")
    ended = typed(*arguments)
    assert "1 image has no mask (good_1): predicted, not scored" in " ".join(ended.out.partition("┏")[0].split())
    ended = typed(*arguments, "dataset.missing_masks=exclude", "hydra.run.dir=run")
    everywhere(ended, tmp_path / "run", "good_1 is left out: no mask")


def save_volume(root: Path, name: str, target: np.ndarray) -> None:
    for part, values in (("images", np.where(target, 180, 40)), ("masks", target)):
        (root / part).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values.astype(np.int16), np.eye(4)), root / part / f"{name}.nii.gz")


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    """One volume of 60 mm, two of 18 mm and one without a target, each with 64 slices of 1 mm."""
    for name, length in (("large", 60), ("small_1", 18), ("small_2", 18), ("void", 0)):
        target = np.zeros((64, 32, 32), np.uint8)
        target[2 : 2 + length, 8:24, 8:24] = 1
        save_volume(tmp_path / "data", name, target)
    return tmp_path / "data"


@pytest.mark.fault("T5")
def test_volumes_and_slices_that_are_left_out_are_told_everywhere(
    typed: Any, volumes: Path, folder: tuple[str, ...], tmp_path: Path
) -> None:
    cut = ("dataset.volume.skip_empty=true", "dataset.volume.trim_mm=20", "dataset.volume.per_volume=2")
    arguments = (*folder, f"dataset.root={volumes}", GT, *cut)
    ended = typed(*arguments, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    sentences = (
        "2 images are left out (small_1, small_2): no slice is left: dataset.volume.trim_mm=20",
        "void is left out: no slice is left: its target is empty",
        "2 of 64 slices of 1 volume are run on (large 2 of 64); left out are 4 without target "
        "(dataset.volume.skip_empty), 40 at its ends (dataset.volume.trim_mm=20), 18 between others "
        "(dataset.volume.per_volume=2)",
    )
    found = typed(*arguments, "task=check", "check.json=true").out
    for sentence, level in zip(sentences, ("warn", "warn", "ok"), strict=True):
        everywhere(ended, tmp_path / "run", sentence)
        assert finding(found, sentence.replace(" (large 2 of 64)", ""))["level"] == level
    assert (manifest(tmp_path / "run")["n_excluded"], manifest(tmp_path / "run")["n_used"]) == (3, 2)


@pytest.mark.fault("T5")
def test_cases_that_are_not_chosen_are_told(typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path) -> None:
    ended = typed(*folder, f"dataset.root={data}", GT, "dataset.limit=3", "hydra.run.dir=run")
    everywhere(ended, tmp_path / "run", "3 of 4 cases are run on (dataset.limit=3)")


def cc359(root: Path) -> None:
    for name in ("CC0001_ge_3_50_F", "someone"):
        target = np.zeros((8, 16, 16), np.uint8)
        target[2:6, 4:12, 4:12] = 1
        for part, suffix, values in (("Original", "", target * 100 + 20), ("Silver-standard", "_ss", target)):
            (root / part).mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(values.astype(np.int16), np.eye(4)), root / part / f"{name}{suffix}.nii.gz")
    shutil.copy(root / "Silver-standard" / "someone_ss.nii.gz", root / "Silver-standard" / "CC0002_ge_3_50_F_ss.nii.gz")
    (root / "Original" / "CC0003.mgz").write_bytes(b"x")


def hc18(root: Path) -> None:
    outline = np.zeros((54, 80), np.uint8)
    cv2.ellipse(outline, (40, 27), (22, 15), 20, 0, 360, 255, 1)
    (root / "training_set").mkdir(parents=True)
    for name in ("001_HC.png", "001_HC_Annotation.png", "002_HC_Annotation.png"):
        Image.fromarray(outline).save(root / "training_set" / name)
    (root / "training_set" / "003.dcm").write_bytes(b"x")


def xray(root: Path) -> None:
    for name in ("CXR_png/a.png", "masks/a_mask.png", "masks/b_mask.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((20, 20), 200, np.uint8)).save(root / name)
    (root / "CXR_png" / "c.webp").write_bytes(b"x")


@pytest.mark.fault("T3", "T4")
@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        (
            "cc359",
            cc359,
            ["someone is left out: its name", "1 mask has no image of its name (CC0002", "1 volume of", "4 of 8"],
        ),
        ("hc18", hc18, ["1 mask has no image of its name (002_HC)", "1 DICOM file"]),
        ("xray", xray, ["1 mask has no image of its name (b)", "1 WebP picture"]),
    ],
)
def test_every_reader_tells(tmp_path: Path, name: str, make: Callable[[Path], None], said: list[str]) -> None:
    make(tmp_path / "data")
    found = [each.said for each in opened(name, tmp_path / "data", "dataset.volume.trim_mm=0").left_out]
    assert len(found) == len(said)
    assert all(any(each.startswith(words) for each in found) for words in said), found


@pytest.mark.fault("T4")
def test_a_run_of_before_tells_nothing_and_is_read(
    typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path
) -> None:
    assert typed(*folder, f"dataset.root={data}", GT, "dataset.limit=3").code == 0
    (path,) = tmp_path.glob("outputs/**/manifest.json")
    found = json.loads(path.read_text())
    del found["data"]["left_out"]
    path.write_text(json.dumps(found))
    assert typed("task=report").code == 0
    assert "cases are run on" not in path.with_name("report.html").read_text()


def many(root: Path, name: str, n: int) -> Path:
    """A data set of n images and masks, a tenth more masks, and as many files that are not read."""
    for number in range(n):
        image, mask = {
            "folder": (f"images/{number}.png", f"masks/{number}_mask.png"),
            "hc18": (f"training_set/{number}_HC.png", f"training_set/{number}_HC_Annotation.png"),
            "xray": (f"CXR_png/{number}.png", f"masks/{number}_mask.png"),
            "cc359": (f"Original/CC{number}_ge_3_50_F.nii", f"Silver-standard/CC{number}_ge_3_50_F_ss.nii"),
        }[name]
        for path in (image, mask) if number % 10 else (mask, f"{image}.dcm"):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(b"x")
    return root


@pytest.mark.fault("T7")
@pytest.mark.parametrize("name", ["folder", "hc18", "xray", "cc359"])
def test_four_times_the_images_take_four_times_the_work_to_start(tmp_path: Path, helpers: Any, name: str) -> None:
    work = {}
    for n in (100, 400):
        root = many(tmp_path / str(n), name, n)
        (tmp_path / "ids.txt").write_text("".join(f"{ref.case_id}\n" for ref in opened(name, root).refs[::2]))
        opened(name, root, f"dataset.subset={tmp_path / 'ids.txt'}")  # what is made once is made
        work[n] = helpers.calls(lambda root=root: opened(name, root, f"dataset.subset={tmp_path / 'ids.txt'}").left_out)
    assert work[400] < 6 * work[100]


def opened(name: str, root: Path, *more: str) -> Dataset:
    """A data set, by the reader of its layout."""
    return open_dataset(checked(compose([f"dataset={name}", "vdt=brain", f"dataset.root={root}", *more])).dataset, 1)


@pytest.mark.fault("T7")
def test_four_times_the_images_take_four_times_the_work_to_check(tmp_path: Path, helpers: Any) -> None:
    work = {}
    for n in (30, 120):
        for number in range(n):
            helpers.add(tmp_path / str(n), str(number), number % 10)
        chosen = [*helpers.FOLDER, f"dataset.root={tmp_path / str(n)}"]
        config = checked(compose(chosen))
        work[n] = helpers.calls(lambda config=config: look(config))
    assert work[120] < 6 * work[30]


LAYOUTS = {
    "nnunet": ("imagesTr/la_1_0000", "labelsTr/la_1", "imagesTr/*", "labelsTr/*", "dataset.files.layout=nnunet"),
    "totalseg": ("s1/ct", "s1/segmentations/liver", "*/ct.png", "*/segmentations/*.png", "images='{id}/ct.png'"),
    "brats": ("B1/B1_flair", "B1/B1_seg", "*/*_flair.png", "*/*_seg.png", "masks='{id}/{id}_seg.png'"),
    "suffix": ("images/a", "masks/a_seg", "images/*", "masks/*", "dataset.files.mask_suffix=_seg"),
    "none": ("images/a_mask", "masks/a_mask", "images/*", "masks/*", "dataset.files.mask_suffix=''"),
}


@pytest.mark.fault("T6")
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_hint_for_another_layout_names_what_helps(
    typed: Any, tmp_path: Path, folder: tuple[str, ...], helpers: Any, name: str
) -> None:
    image, mask, images, masks, hint = LAYOUTS[name]
    for path, pixels in zip((image, mask), helpers.oval(0), strict=True):
        helpers.save(tmp_path / "data" / f"{path}.png", pixels)
    rest, globs = (*folder, "dataset.root=data", GT), (f"dataset.files.images={images}", f"dataset.files.masks={masks}")
    said = typed(*rest, *globs).complaint
    assert f"{hint}" in said
    assert f"{mask}.png" in said
    assert f"{image}.png" in said
    proposed = [each for each in shlex.split(said.rpartition(": ")[2]) if each.startswith("dataset.")]
    kept = globs if "mask_suffix" in hint else ()
    assert said.endswith(" pairs 1 of them.\n")
    assert typed(*rest, *kept, *proposed).code == 0


@pytest.mark.fault("T1")
def test_what_the_table_of_cases_holds_of_it(typed: Any, data: Path, folder: tuple[str, ...], tmp_path: Path) -> None:
    spot(data, "lesion")
    typed(*folder, f"dataset.root={data}", GT, "max_failed=0.5", "hydra.run.dir=run")
    with (tmp_path / "run" / "cases.csv").open(newline="") as stream:
        found = {row["case_id"]: row for row in csv.DictReader(stream)}
    assert found["lesion"]["pixels_target"] == ""
    assert found["good_0"]["status"] == "ok"
