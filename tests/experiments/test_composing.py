"""Cells compose to runs of their own; their key changes with whatever a result depends on, and with nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from salip_exp._experiments.cells import Cell, plan
from salip_exp._experiments.composing import absent, absent_weights, cell_key, composed, overrides_of, told, weights_of
from salip_exp._paper import parts
from salip_exp._runs.lab import Lab
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config, Data, DatasetConfig, ExperimentConfig, Images, MissingMasks, Roots, Texts
from salip_exp.errors import ConfigError, WeightsError

PHANTOMS = Config(experiment=ExperimentConfig(name="table6", parts=["table6"]))
REAL = replace(PHANTOMS, data=Data.real)


def test_what_the_user_typed_holds_for_all_cells_without_what_makes_the_experiment() -> None:
    command = ["python", "-m", "salip_exp", "+experiment=table6", "data=real", "experiment.roots.hc18=x", "seed=3"]
    assert told([*command, "hydra.run.dir=y", "dataset.limit=4"]) == ["seed=3", "dataset.limit=4"]


@pytest.mark.parametrize("override", ["dataset=hc18", "method=gt_sam", "dataset.root=x"])
def test_what_cells_differ_in_cannot_be_typed_for_all(override: str) -> None:
    with pytest.raises(ConfigError, match="the cells of an experiment set"):
        told(["salip-exp", "+experiment=table6", override])


def test_a_cell_wins_over_what_the_user_typed() -> None:
    cell = Cell("hc18", "vit_b", ("sam=vit_b",))
    assert overrides_of(cell, PHANTOMS, ["sam=tiny", "clip=tiny"]) == [
        "dataset=phantom_hc18",
        "clip=tiny",
        "sam=vit_b",
        "download=false",
    ]


def test_ablations_of_the_user_and_of_the_cell_add_up() -> None:
    cell = Cell("xray", "separate_box", ("+ablation=[separate_lungs,view_box]",))
    assert overrides_of(cell, REAL, ["+ablation=no_filter"]) == [
        "dataset=xray",
        "dataset.sample=800",
        "+ablation=[no_filter,separate_lungs,view_box]",
    ]


def test_real_images_lie_where_the_roots_say() -> None:
    config = replace(REAL, experiment=ExperimentConfig("table6", ["table6"], Roots(hc18="somewhere")))
    assert overrides_of(Cell("hc18", "salip", ()), config, [])[:2] == ["dataset=hc18", "dataset.root=somewhere"]


def test_real_cells_score_as_many_images_as_the_paper_unless_the_user_chooses() -> None:
    def drawn(cell: Cell, *typed_by_user: str, config: Config = REAL) -> list[str]:
        return [each for each in overrides_of(cell, config, typed_by_user) if "dataset.sample" in each]

    head = Cell("hc18", "salip", ())
    assert drawn(head) == ["dataset.sample=200"]
    assert drawn(Cell("xray", "gt_sam", ("method=gt_sam",))) == ["dataset.sample=800"]
    assert drawn(Cell("cc359", "salip", ())) == drawn(Cell("hc18", "unet", ("method=unet",))) == []
    assert drawn(head, config=PHANTOMS) == drawn(head, "dataset.limit=9") == []
    assert drawn(head, "dataset.sample=5") == ["dataset.sample=5"]
    every = replace(REAL, experiment=ExperimentConfig(images=Images(hc18=None)))
    assert drawn(head, config=every) == []


def test_how_images_were_chosen_is_no_part_of_a_cells_key() -> None:
    plain, drawn = (typed(compose(["dataset=phantom_hc18", *each])) for each in ([], ["dataset.sample=200"]))
    assert cell_key(plain, "the same images") == cell_key(drawn, "the same images")


def test_a_unet_is_trained_quickly_on_phantoms_unless_the_user_says_how() -> None:
    cell = Cell("hc18", "unet", ("method=unet",))
    assert "unet=quick" in overrides_of(cell, PHANTOMS, [])
    assert "unet=quick" not in overrides_of(cell, PHANTOMS, ["unet=default"])
    assert "unet=quick" not in overrides_of(cell, REAL, [])


def test_a_method_without_settings_to_search_runs_without_a_search() -> None:
    searched = ["tuning=random", "tuning.n_trials=3"]
    assert composed(overrides_of(Cell("hc18", "salip", ()), PHANTOMS, searched), PHANTOMS).tuning.n_trials == 3
    plain = composed(overrides_of(Cell("hc18", "gt_sam", ("method=gt_sam",)), PHANTOMS, searched), PHANTOMS)
    assert plain.tuning.sampler == "none"


def test_images_that_are_not_here_are_said_to_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SALIP_DATA", raising=False)

    def reason(*overrides: str) -> str | None:
        return absent(typed(compose(["dataset=hc18", *overrides])))

    assert "experiment.roots.hc18=DIR" in (reason() or "")
    assert "there is no folder" in (reason(f"dataset.root={tmp_path / 'nowhere'}") or "")
    assert reason(f"dataset.root={tmp_path}") is None
    monkeypatch.setenv("SALIP_DATA", str(tmp_path))
    assert "there is no folder" in (reason() or "")
    (tmp_path / "hc18").mkdir()
    assert reason() is None
    assert absent(typed(compose(["dataset=phantom_hc18"]))) is None


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["task=experiment"], r"write \+experiment=table1"),
        (["+experiment=table1", "experiment.parts=[table9]"], "experiment.parts holds table9, which is none of table1"),
        (["+experiment=table1", "task=run"], "exclude each other"),
    ],
)
def test_an_experiment_that_cannot_be_is_one_sentence(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        typed(compose(overrides))


def test_a_study_groups_the_runs_of_its_cells() -> None:
    chosen = composed(["dataset=phantom_hc18"], PHANTOMS)
    assert chosen.tracker.study == "table6"
    assert chosen.task == "run"


NETWORKS = [
    pytest.param(PHANTOMS, "tiny", id="phantoms"),
    pytest.param(REAL, "vit_h", marks=pytest.mark.slow, id="real"),
]


@pytest.mark.ci
@pytest.mark.parametrize(("data", "default"), NETWORKS)
def test_every_column_of_every_part_composes_to_another_run(data: Config, default: str) -> None:
    """Lungs have all columns; SaLIP and its own SAM by name are the one run that two columns share."""
    texts = Texts(authors="clip_prompts", xray="lungs.yaml")
    data = replace(data, experiment=replace(data.experiment, texts=texts))
    columns = {cell.column: replace(cell, dataset="xray") for cell in plan(parts())}
    chosen = {key: composed(overrides_of(cell, data, ["seed=3"]), data) for key, cell in columns.items()}
    assert all(each.seed == 3 and each.download == (data.data is Data.real) for each in chosen.values())
    assert all((each.dataset.phantom is None) == (data.data is Data.real) for each in chosen.values())
    same = {key for key in chosen for other in chosen if key != other and chosen[key] == chosen[other]}
    assert same == {"salip", default}


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
        replace(salip, stress="blur:1"),
        replace(salip, stress="blur:2"),
        replace(salip, dataset=replace(salip.dataset, absent=True)),
        replace(salip, score=replace(salip.score, poor_below=0.7)),
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
