"""A check names what would stop or spoil a run, with what to do, and ends with the exit code that the run would."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from salip_exp._checks import machine as device
from salip_exp._checks.finding import Finding, Level, failure, fine, warning
from salip_exp._checks.inputs import Data, look, text_findings
from salip_exp._checks.machine import bytes_of_a_case, disk_findings, folder_findings
from salip_exp._checks.settings import settings_findings
from salip_exp._commands import check
from salip_exp._commands.check import as_json, findings
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config
from salip_exp.errors import ConfigError, DataError, WeightsError
from tests.networks.folders import open_clip_folder, spotter_folder

Make = Callable[..., Config]


@pytest.fixture
def config(tmp_path: Path) -> Make:
    """A configuration by overrides: two good images, embedded networks."""
    rng = np.random.default_rng(0)
    for number in range(2):
        for part, name in (("images", f"{number}.png"), ("masks", f"{number}_mask.png")):
            path = tmp_path / "data" / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            mask = np.zeros((40, 40), np.uint8)
            mask[10:30, 10:30] = 255
            image = mask if part == "masks" else rng.integers(0, 255, (40, 40)).astype(np.uint8)
            Image.fromarray(image).save(path)
    base = (
        "dataset=folder", f"dataset.root={tmp_path / 'data'}", 'vdt.sentences=["a square"]', "sam=tiny", "clip=tiny",
        f"outputs={tmp_path / 'outputs'}", f"cache.folder={tmp_path / 'cache'}", "progress=false", "device=cpu",
    )  # fmt: skip

    def make(*overrides: str) -> Config:
        return typed(compose([*base, *overrides]))

    return make


def levels(found: list[Finding]) -> set[str]:
    return {each.level for each in found}


def test_where_nothing_is_wrong_the_run_can_start(config: Make, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = config()
    assert check.command(chosen, Path(), []) == 0
    said = capsys.readouterr().out
    assert "0 errors, 2 warnings: the run can start" in said  # embedded weights on real images and of another organ
    assert "2 of 2 images found can be used" in said
    assert not Path(chosen.outputs).exists()
    assert not Path(str(chosen.cache.folder)).exists()


def test_an_executor_whose_programs_are_not_here_is_an_error(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    for name, level in (("slurm", Level.error), ("processes", Level.ok)):
        (found,) = device.executor_findings(config(f"executor={name}"))
        assert found.level is level and name in found.said
    assert not list(device.executor_findings(config()))


def test_every_area_is_looked_at(config: Make) -> None:
    areas = [each.area for each in findings(config())]
    assert list(dict.fromkeys(areas)) == [
        "settings", "text", "folders", "weights", "device", "tracker", "data", "disk",
    ]  # fmt: skip


def test_json_holds_every_finding_and_the_worst_code_and_nothing_else_is_on_stdout(
    config: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = config("check.json=true", "dataset.root=nowhere", "sam=vit_b", "sam.weights=nowhere.pth")
    assert check.command(chosen, Path(), []) == 4
    content = json.loads(capsys.readouterr().out)
    assert (content["version"], content["exit_code"]) == (1, 4)
    assert {each["exit_code"] for each in content["findings"] if each["level"] == "error"} == {3, 4}
    assert all(set(each) == {"level", "area", "said", "exit_code"} for each in content["findings"])


def test_the_exit_code_is_the_highest_of_the_errors_and_warnings_have_none() -> None:
    found = [fine("a", "b"), warning("a", "b"), failure("a", ConfigError("x")), failure("a", WeightsError("y\nz"))]
    assert [each.exit_code for each in found] == [0, 0, 2, 4]
    assert found[-1].said == "y z"
    assert json.loads(as_json(found, 4))["exit_code"] == 4


def test_nothing_heavy_is_imported_for_the_embedded_networks(config: Make, tmp_path: Path) -> None:
    chosen = config()
    program = (
        "import sys\nfrom salip_exp import cli\ntry: cli.main()\n"
        "finally: print('HEAVY', [m for m in ('torch', 'clip', 'wandb', 'optuna') if m in sys.modules])"
    )
    arguments = ["task=check", "dataset=folder", f"dataset.root={chosen.dataset.root}", 'vdt.sentences=["a square"]',
                 "sam=tiny", "clip=tiny", "progress=false"]  # fmt: skip
    answer = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "HEAVY []" in answer.stdout


@pytest.mark.ci
@pytest.mark.parametrize("name", ["phantom_cc359", "phantom_hc18", "phantom_xray"])
def test_phantoms_are_in_order(name: str, tmp_path: Path) -> None:
    chosen = typed(
        compose([f"dataset={name}", "dataset.phantom.n=6", "dataset.limit=6", f"outputs={tmp_path}", "progress=false"])
    )
    said = [each.said for each in findings(chosen) if each.level is not Level.ok]
    assert all(each.endswith("no mask") for each in said)  # one x-ray phantom has none, on purpose


def test_what_belongs_together_is_shown_and_what_would_pair_is_proposed(config: Make, tmp_path: Path) -> None:
    said = [each.said for each in look(config()).findings]
    assert "2 images have a mask: images/0.png with masks/0_mask.png, images/1.png with masks/1_mask.png" in said
    (tmp_path / "data" / "masks").rename(tmp_path / "data" / "truth")
    (found,) = [each.said for each in look(config()).findings if "no mask is found" in each.said]
    assert found.startswith("no mask is found at dataset.files.masks=masks/**/*: ")
    assert found.endswith(" pairs 2 of them")
    proposed = shlex.split(found.partition(": ")[2])[:2]
    again = [each.said for each in look(config(*(each.replace("=", "='", 1) + "'" for each in proposed))).findings]
    assert "2 images have a mask: images/0.png with truth/0_mask.png, images/1.png with truth/1_mask.png" in again


def test_copies_and_empty_masks_are_named(config: Make, tmp_path: Path) -> None:
    chosen = config()
    images, masks = tmp_path / "data" / "images", tmp_path / "data" / "masks"
    (images / "copy.png").write_bytes((images / "0.png").read_bytes())
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(masks / "copy_mask.png")
    found = look(chosen).findings
    assert any(each.said.startswith("0, copy hold the very same pixels") for each in found)
    assert any(
        each.said.startswith("1 target is empty (copy): scored by score.empty_target=skip; look at the masks")
        for each in found
    )
    assert Level.error not in levels(found)


def test_stress_and_absent_organs_are_in_order_and_told(config: Make) -> None:
    found = look(config("stress=blur:3", "dataset.absent=true")).findings
    assert levels(found) == {Level.ok}
    said = " ".join(each.said for each in found)
    assert "stress=blur:3 makes every image worse, drawn with seed=1234: Gaussian" in said
    assert "every target is empty, as the organ asked for is in no image" in said


def test_a_volume_that_cannot_be_read_is_one_finding_that_counts_its_slices(config: Make, tmp_path: Path) -> None:
    import nibabel as nib

    target = np.zeros((8, 8, 5), np.uint8)
    target[2:6, 2:6] = 1
    nib.save(nib.Nifti1Image(target, np.eye(4)), tmp_path / "data" / "masks" / "v_mask.nii.gz")
    image = tmp_path / "data" / "images" / "v.nii.gz"
    nib.save(nib.Nifti1Image(np.random.default_rng(0).integers(0, 99, (8, 8, 5)).astype(np.int16), np.eye(4)), image)
    image.write_bytes(image.read_bytes()[:-100])
    found = look(config("dataset.volume.trim_mm=0", "dataset.volume.axis=axial")).findings
    errors = [each for each in found if each.level is Level.error]
    assert len(errors) == 1
    assert errors[0].said.startswith("v (and 4 further slices): E_READ: ")
    assert (errors[0].exit_code, str(image) in errors[0].said) == (DataError.exit_code, True)


def test_whatever_a_case_raises_is_that_cases(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr("salip_exp.data.loading.read_picture", fail)
    data = look(config())
    assert data.cases == 0
    assert sum("E_OOM" in each.said for each in data.findings) == 2
    assert "no case is left to run on" in data.findings[-1].said


def test_settings_that_spoil_what_is_said_are_warned_of(config: Make) -> None:
    chosen = config("tuning.score_tuning_images=true", "max_failed=0.5")
    said = " ".join(each.said for each in settings_findings(chosen) if each.level is Level.warn)
    for word in ("score_tuning_images", "synthetic images only", "max_failed=0.5"):
        assert word in said


def test_a_sentence_is_counted_in_tokens_of_clip_and_not_in_letters(config: Make) -> None:
    clip = pytest.importorskip("clip")
    fits, long = "word " * 75, "word " * 76
    clip.tokenize(fits)
    with pytest.raises(RuntimeError):
        clip.tokenize(long)
    assert levels(list(text_findings(config(f'vdt.sentences=["{fits}"]')))) == {"ok"}
    (found,) = text_findings(config(f'vdt.sentences=["{long}"]'))
    assert (found.exit_code, "78 tokens" in found.said) == (2, True)


@pytest.mark.ci
@pytest.mark.parametrize(("kind", "most"), [("bert", 20), ("siglip", 12)])
def test_a_sentence_is_counted_by_the_tokenizer_of_a_library(
    config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, most: int
) -> None:
    folder = open_clip_folder(tmp_path / "net", kind, monkeypatch)
    clip = ["clip=biomedclip", f"clip.weights={folder}"]
    fits = " ".join(["head"] * (most - 2))
    (found,) = text_findings(config(f"vdt.sentences=['{fits}']", *clip))
    assert (found.level, f"within the {most} tokens of clip=biomedclip" in found.said) == ("ok", True)
    (found,) = text_findings(config(f"vdt.sentences=['{fits} head']", *clip))
    assert (found.exit_code, f"{most + 1} tokens and clip=biomedclip reads {most}" in found.said) == (2, True)


@pytest.mark.ci
@pytest.mark.parametrize(("kind", "most"), [("owlv2", 16), ("sam3", 32), ("grounding-dino", 16)])
def test_a_detector_is_counted_without_its_weights(config: Make, tmp_path: Path, kind: str, most: int) -> None:
    folder = spotter_folder(tmp_path / "net", kind)
    (folder / "model.safetensors").write_bytes(b"not read")
    clip = ["method=grounded_sam", "clip=owlv2", f"clip.weights={folder}"]
    (found,) = text_findings(config("vdt.sentences=['head']", *clip))
    assert f"within the {most} tokens of clip=owlv2" in found.said
    (found,) = text_findings(config(f"vdt.sentences=['{'zzz ' * most}']", *clip))
    assert (found.exit_code, f"and clip=owlv2 reads {most}" in found.said) == (2, True)


def test_tokens_of_what_is_yet_to_be_fetched_are_left_to_the_run(config: Make) -> None:
    pytest.importorskip("huggingface_hub")
    (found, *_) = text_findings(config("clip=hf:me/nowhere"))
    assert found.level == "ok" and "tokens a run counts" in found.said
    (found,) = text_findings(config("clip=hf:me/nowhere", "download=false"))
    assert found.exit_code == 4


def test_methods_without_clip_need_no_text(config: Make) -> None:
    assert list(text_findings(config("method=gt_sam"))) == []
    ok, other = text_findings(config("preset=paper"))
    assert (ok.level, other.level) == ("ok", "warn") and "other sentences than the authors'" in other.said


def test_folders_that_cannot_be_written_are_errors_with_another_place_to_choose(config: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = list(folder_findings(config(f"outputs={tmp_path / 'file' / 'o'}", f"cache.folder={tmp_path / 'file'}")))
    assert [(each.level, each.exit_code) for each in found] == [(Level.error, 6)] * 2
    assert ["outputs=DIR" in found[0].said, "cache.folder=DIR" in found[1].said] == [True, True]


def test_room_is_held_against_what_is_free(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=200_000_000))
    chosen, many = config("sam=vit_h"), Data(cases=1000, pixels=256 * 256)
    found = {each.said.partition(" ")[0]: each for each in disk_findings(chosen, many)}
    assert found["results"].level is Level.ok
    assert (found["weights"].level, found["weights"].exit_code) == (Level.error, 6)
    assert (found["the"].level, "cache.folder=DIR" in found["the"].said) == (Level.warn, True)
    small = list(disk_findings(config("cache.disk_gb=0.01"), many))
    assert "cache.disk_gb=0.01" in small[-1].said


def test_the_cache_of_a_crop_layer_is_larger_and_of_target_boxes_smaller(config: Make) -> None:
    sizes = [
        bytes_of_a_case(config(*overrides), 65_536)
        for overrides in (("method=gt_sam",), (), ("sam.crop_n_layers=1",), ("sam=vit_b", "sam.crop_n_layers=1"))
    ]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == 4


def test_official_networks_on_a_cpu_are_warned_of_and_a_gpu_that_is_not_there_is_an_error(config: Make) -> None:
    import torch

    (found,) = device.device_findings(config("sam=vit_h"))
    assert (found.level, "minutes per image" in found.said) == (Level.warn, True)
    if not torch.cuda.is_available():
        (found,) = device.device_findings(config("device=cuda"))
        assert (found.level, found.exit_code) == (Level.error, 6)


def test_a_gpu_is_held_against_what_the_networks_need(config: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    chosen = config("sam=vit_h", "clip=vit_l_14", "device=cuda")
    needed = device.bytes_needed(chosen)
    assert 7e9 < needed < 12e9
    assert device.bytes_needed(config("sam=vit_b")) < needed
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda chosen: "a GPU")
    for free, level in ((80e9, Level.ok), (4e9, Level.error)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda chosen, free=free: (free, 80e9))
        (found,) = device.device_findings(chosen)
        assert found.level is level


@pytest.mark.parametrize(
    ("clip", "text", "told"),
    [
        ("tiny", 'vdt.sentences=["a liver"]', True),
        ("tiny", "vdt=lungs", False),
        ("tiny", "vdt=liver_ct", True),
        ("small", "vdt=liver_ct", False),
        ("small", 'vdt.sentences=["a pancreas"]', True),
        ("vit_l_14", 'vdt.sentences=["a pancreas"]', False),
    ],
)
def test_a_text_that_an_embedded_clip_does_not_know_is_told(clip: str, text: str, told: bool) -> None:
    said = [each.said for each in settings_findings(typed(compose(["dataset=folder", f"clip={clip}", text])))]
    assert any(f"clip={clip} knows brains, fetal heads" in each for each in said) is told
