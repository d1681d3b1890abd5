"""SaLIP in Python gives what a run gives, from arrays, pictures, paths and volumes, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

import salip_exp
from salip_exp import SaLIP, Segmentation, read_run
from salip_exp._runs.lab import Lab
from salip_exp._runs.runner import run
from salip_exp.api._overrides import ORGANS, configured
from salip_exp.config import ConfidenceConfig
from salip_exp.errors import CaseError, ConfigError, DataError, SalipError

QUICK = {"sam": "tiny", "clip": "tiny", "sam__points_per_side": 6, "device": "cpu"}
KEYS = ["sam=tiny", "clip=tiny", "sam.points_per_side=6", "device=cpu"]
AXIAL = {"dataset__volume__axis": "axial", "dataset__volume__trim_mm": 0}


@pytest.fixture(scope="module")
def lungs() -> SaLIP:
    return SaLIP(organ="lungs", **QUICK)


@pytest.fixture(scope="module")
def chest() -> NDArray[np.uint8]:
    """Two dark lungs in a bright chest, 300 x 200: neither square nor of working size."""
    y, x = np.mgrid[:300, :200]
    image = np.full((300, 200), 190.0)
    for center in (60, 140):
        image[((x - center) / 28) ** 2 + ((y - 140) / 90) ** 2 < 1] = 60
    noise = np.random.default_rng(0).normal(0, 6, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def volume() -> nib.Nifti1Image:
    z, y, x = np.mgrid[:40, :48, :3]
    values = np.where((z - 20) ** 2 / 200 + (y - 24) ** 2 / 300 < 1, 300, 10) + 5 * x
    affine = np.array([[0.9, -0.3, 0.1, -50], [0.35, 1.4, -0.6, 20], [0.0, 0.5, 2.9, 7.5], [0, 0, 0, 1]])
    return nib.Nifti1Image(values.astype(np.int16), affine)


def same(one: Segmentation, other: Segmentation) -> None:
    np.testing.assert_array_equal(one.mask, other.mask)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    pd.testing.assert_frame_equal(one.candidates, other.candidates, check_exact=True)
    assert one.confidence == other.confidence


def test_importing_the_package_loads_no_network() -> None:
    program = "import salip_exp, sys; print(sorted({'torch', 'pandas', 'hydra', 'numpy'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
    assert set(dir(salip_exp)) == set(salip_exp.__all__)
    assert all(getattr(salip_exp, name) for name in salip_exp.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Salip'"):
        salip_exp.Salip  # noqa: B018


def test_a_result_has_the_size_of_the_image_and_all_candidates(lungs: SaLIP, chest: NDArray[np.uint8]) -> None:
    result = lungs(chest)
    assert result.mask.dtype == np.bool_ and result.mask.shape == chest.shape and result.mask.any()
    assert result.image.shape == (*chest.shape, 3)
    table = result.candidates
    assert table.selected.sum() == len(result.boxes) <= 2
    assert len([name for name in table if str(name).startswith("sentence_")]) == len(table.attrs["sentences"]) == 12
    assert set(result.confidence) == {"confidence", "dsc_at_least", *ConfidenceConfig().signals}
    assert (result.flag is None) == (result.reason == "") and 0 <= result.confidence["confidence"] <= 1
    best = table[table.selected].sort_values("score").iloc[-1]
    scale = 300 / 256
    np.testing.assert_allclose(result.boxes[0, 1], best.y0 * scale, atol=1e-4)
    np.testing.assert_allclose(result.boxes[0, 3], (best.y1 + 1) * scale - 1, atol=1e-4)
    assert result.candidate(int(best.candidate)).shape == chest.shape
    with pytest.raises(ConfigError, match="no candidate 9999"):
        result.candidate(9999)
    assert "200 x 300" in repr(result)
    assert result.plot().get_axes() and result._repr_png_()[:4] == b"\x89PNG"


def test_array_picture_and_path_are_one_image(lungs: SaLIP, chest: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(chest).save(tmp_path / "chest.png")
    first = lungs(chest)
    with Image.open(tmp_path / "chest.png") as picture:
        others = [chest[..., None].repeat(3, 2), Image.fromarray(chest), picture, tmp_path / "chest.png"]
        for other in others:
            same(first, lungs(other))
    deep = (chest.astype(np.uint16) * 200) + 7
    Image.fromarray(deep).save(tmp_path / "deep.png")
    same(lungs(deep), lungs(tmp_path / "deep.png"))
    assert lungs(deep).notes == ("windowed from uint16",)


@pytest.mark.ci
def test_pictures_equal_a_run_to_the_bit(chest: NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for name, image in {"one": chest, "two": chest[::-1]}.items():
        Image.fromarray(image).save(tmp_path / "images" / f"{name}.png")
    keys = ["dataset=folder", f"dataset.root={tmp_path}", "dataset.k=2", "vdt=lungs", *KEYS]
    folder = tmp_path / "run"
    assert run(configured([*keys, "cache=disk", f"cache.folder={tmp_path / 'cache'}"]), folder, [], Lab()) == 0
    tables, segment = read_run(folder), SaLIP(organ="lungs", **QUICK)
    assert (tables.state, len(tables.cases), tables.summary["overall"]["cases"]) == ("finished", 2, 2)
    for case in tables.cases.itertuples():
        result = segment(case.image)
        with Image.open(folder / case.prediction) as picture:
            np.testing.assert_array_equal(result.mask, np.asarray(picture) > 0)
        assert {name: getattr(case, name) for name in result.confidence} == result.confidence
        mine = tables.candidates[tables.candidates.case_id == case.case_id].drop(columns="case_id")
        pd.testing.assert_frame_equal(mine.reset_index(drop=True), result.candidates, check_exact=True)
        same(result, SaLIP.from_config(keys)(case.image))


@pytest.mark.ci
def test_a_volume_equals_a_run_to_the_bit_and_lies_on_its_image(volume: nib.Nifti1Image, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    path = tmp_path / "images" / "one.nii.gz"
    nib.save(volume, path)
    segment = SaLIP(organ="brain", **QUICK, **AXIAL)
    keys = [f"{name.replace('__', '.')}={value}" for name, value in AXIAL.items()]
    config = configured(["dataset=folder", f"dataset.root={tmp_path}", "vdt=brain", *KEYS, *keys])
    assert run(config, tmp_path / "run", [], Lab()) == 0
    written = nib.load(tmp_path / "run" / "masks" / "one.nii.gz")
    for mask in (written, segment.volume(path), segment.volume(volume)):
        np.testing.assert_array_equal(mask.affine, nib.load(path).affine)
        np.testing.assert_array_equal(np.asarray(mask.dataobj), np.asarray(written.dataobj))
    with pytest.raises(CaseError, match=r"is a volume: give it to \.volume"):
        segment(path)


def test_threads_take_turns(lungs: SaLIP, chest: NDArray[np.uint8]) -> None:
    images = [chest, chest[::-1], chest[:, ::-1], chest[::-1, ::-1]]
    alone = [lungs(each) for each in images]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone, pool.map(lungs, images), strict=True):
            same(one, other)


def test_nothing_is_written(
    chest: NDArray[np.uint8], volume: nib.Nifti1Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "cache"))
    segment = SaLIP(organ="brain", **QUICK, **AXIAL)
    segment(chest)
    segment.volume(volume)
    assert list(tmp_path.iterdir()) == []


def test_other_methods_and_sentences_of_ones_own(chest: NDArray[np.uint8]) -> None:
    result = SaLIP(organ="liver", sentences=["a smooth wedge, isn't it", "dark"], method="sam_clip", **QUICK)(chest)
    assert result.candidates.attrs["sentences"] == ["a smooth wedge, isn't it", "dark"]
    bare = SaLIP(organ="lungs", method="unprompted_sam", **QUICK)(chest)
    assert bare.candidates.empty and not bare.confidence and bare.plot()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"organ": "liver"}, r"organ='liver' has no sentences of its own, as brain"),
        ({"organ": "lungs", "sam": "tinny"}, r"sam=tinny does not exist: the nearest is sam=tiny"),
        ({"organ": "lungs", "sam__points": 3}, r"sam\.points is not a key"),
        ({"organ": "lungs", "dataset__k": "many"}, r"dataset\.k=many is not possible"),
        ({"organ": "lungs", "dataset__k": object()}, r"of a kind that no key takes"),
        ({"organ": "lungs", "method": "oracle"}, r"method=oracle needs the target"),
        ({"organ": "lungs", "method": "unet"}, r"needs unet\.weights=FILE"),
        ({"organ": "lungs", "task": "tune"}, r"task=tune is for the command line"),
        ({"organ": "lungs", "tuning": "random"}, r"tuning=random searches over a data set"),
        ({"organ": "lungs", "seeds": [1, 2], "dataset__sample": 3}, r"seeds=\[\.\.\.\] are runs of their own"),
        ({"organ": "lungs", "tracker": "wandb"}, r"tracker=wandb tracks runs"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence(given: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SaLIP(**({"clip": "tiny", "sam": "tiny"} | given))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(8,), (8, 8, 4), (3, 8, 8), (0, 8), (2, 2, 2, 3)])
def test_an_array_that_is_no_image_is_refused(lungs: SaLIP, shape: tuple[int, ...]) -> None:
    with pytest.raises(CaseError, match=r"is no image: give \(H, W\)"):
        lungs(np.zeros(shape, np.uint8))
    with pytest.raises(SalipError, match="NaN or infinite"):
        lungs(np.array([[1.0, np.nan]]))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder of a run"):
        read_run(tmp_path)


def test_a_run_that_was_stopped_is_read_as_far_as_it_came(fakes: ModuleType, tmp_path: Path) -> None:
    assert fakes.run_fake(tmp_path / "run") == 0
    (tmp_path / "run" / "summary.json").unlink()
    tables = read_run(tmp_path / "run")
    assert tables.state != "finished" and len(tables.cases) == fakes.N and tables.candidates.empty
    assert tables.summary == {}


def test_organs_are_those_of_the_data_sets() -> None:
    of_data = [configured([f"dataset={name}"]) for name in ("phantom_cc359", "phantom_hc18", "phantom_xray")]
    assert {each.dataset.roi: (each.vdt.name, each.dataset.k) for each in of_data} == ORGANS
