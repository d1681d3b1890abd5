"""The key of a cell changes with whatever its result depends on, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salip_exp._experiments.composing import absent_weights, cell_key, weights_of
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config, DatasetConfig, MissingMasks
from salip_exp.errors import WeightsError
from salip_exp.runs.lab import Lab


@pytest.fixture(scope="module")
def salip() -> Config:
    return typed(compose(["dataset=phantom_hc18"]))


def test_the_key_changes_with_data_weights_settings_and_scoring(salip: Config) -> None:
    others = [
        replace(salip, seed=1),
        replace(salip, sam=replace(salip.sam, pred_iou_thresh=0.1)),
        replace(salip, sam=replace(salip.sam, weights="other.safetensors", sha256="b" * 64)),
        replace(salip, clip=replace(salip.clip, weights="other.safetensors", sha256="b" * 64)),
        replace(salip, area=replace(salip.area, enabled=False)),
        replace(salip, dataset=replace(salip.dataset, k=2)),
        replace(salip, score=replace(salip.score, resamples=100)),
        replace(salip, tuning=replace(salip.tuning, n_trials=7)),
        replace(salip, vdt=replace(salip.vdt, sentences=["a head"])),
        replace(salip, method="gt_sam"),
    ]
    keys = [cell_key(salip, "data"), cell_key(salip, "other data"), *(cell_key(each, "data") for each in others)]
    assert len(set(keys)) == len(keys)


def test_where_files_lie_and_what_is_drawn_is_no_part_of_the_key(salip: Config) -> None:
    key = cell_key(salip, "data")
    places = replace(salip, outputs="elsewhere", figures="none", progress=False, resume=True, download=False)
    assert cell_key(places, "data") == key
    assert cell_key(replace(salip, dataset=replace(salip.dataset, root="elsewhere")), "data") == key
    assert cell_key(replace(salip, tuning=replace(salip.tuning, n_workers=2)), "data") == key


def test_weights_count_where_they_are_used_alone(salip: Config) -> None:
    assert set(weights_of(salip)) == {"sam", "clip"}
    boxes = replace(salip, method="gt_sam")
    assert set(weights_of(boxes)) == {"sam"}
    other = replace(boxes, clip=replace(boxes.clip, weights="other.safetensors", sha256="b" * 64))
    assert cell_key(other, "data") == cell_key(boxes, "data")


def test_weights_that_are_not_here_are_named(salip: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert absent_weights(salip) is None
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path))
    vit_b = replace(salip.sam, name="vit_b")
    assert absent_weights(replace(salip, sam=vit_b)) == "sam=vit_b"
    typed_wrong = replace(vit_b, weights=str(tmp_path / "nowhere"))
    assert absent_weights(replace(salip, sam=typed_wrong)) is None  # a mistake, not something to do without


def test_a_unet_s_weights_count_by_what_is_in_them(salip: Config, tmp_path: Path) -> None:
    unet = replace(salip, method="unet")
    files = [tmp_path / name for name in ("a", "b", "copy of a")]
    for path, content in zip(files, (b"a", b"b", b"a"), strict=True):
        path.write_bytes(content)
    given = [replace(unet, unet=replace(unet.unet, weights=str(path))) for path in files]
    trained, a, b, copy = (cell_key(each, "data") for each in (unet, *given))
    assert a == copy
    assert len({trained, a, b}) == 3
    with pytest.raises(WeightsError, match="nowhere"):
        cell_key(replace(unet, unet=replace(unet.unet, weights=str(tmp_path / "nowhere"))), "data")


def folder(root: Path, values: list[int]) -> Config:
    (root / "images").mkdir(parents=True, exist_ok=True)
    for i, value in enumerate(values):
        Image.fromarray(np.full((32, 32), value, np.uint8)).save(root / "images" / f"{i}.png")
    data = DatasetConfig(name="folder", layout="folder", root=str(root), missing_masks=MissingMasks.predict)
    return Config(dataset=data)


def test_the_data_s_hash_is_that_of_its_pictures_wherever_they_lie(tmp_path: Path) -> None:
    a, b, other = (folder(tmp_path / name, values) for name, values in [("a", [1, 2]), ("b", [1, 2]), ("c", [1, 3])])
    hashes = [Lab(1).data_sha256(each) for each in (a, b, other)]
    assert hashes[0] == hashes[1] != hashes[2]
    (tmp_path / "b" / "images" / "1.png").write_bytes(b"no picture")
    assert Lab(1).data_sha256(b) not in hashes


def test_data_sets_are_opened_and_their_cases_read_once(tmp_path: Path) -> None:
    config, lab = folder(tmp_path, [1, 2, 3]), Lab(1)
    assert lab.dataset(config) is lab.dataset(config)
    first = lab.dataset(config).refs[0]
    assert first.load() is first.load()
