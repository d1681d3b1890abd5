"""Every YAML composes, says how it is used, and the presets settle every open choice."""

from __future__ import annotations

import re
import shlex
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config
from salip_exp.errors import ConfigError
from salip_exp.methods.traits import METHODS
from tools.embedded.texts import THINGS, vdt_sentences

CONF = Path(str(resources.files("salip_exp.conf")))
YAMLS = sorted(str(path.relative_to(CONF)) for path in CONF.rglob("*.yaml"))
SENTENCES = "vdt.sentences=['A kidney on black.', 'A bean-shaped organ, smooth.']"

# Audit 1C, key by key: what the paper leaves open. `sam.*` is set by preset=paper alone: sam=tiny has its own.
OPEN = {
    "C1": ["dataset.resize.mode", "dataset.resize.side", "dataset.resize.interpolation", "dataset.resize.masks"],
    "C2": ["dataset.channels"],
    "C3": ["view.kind", "view.fit", "view.inclusive", "view.margin"],
    "C4": ["retrieval.prototype"],
    "C5": ["clip.precision", "retrieval.ties"],
    "C6": ["retrieval.max_overlap"],
    "C7": ["organ.multimask", "organ.threshold", "prompt.min_component_area", "prompt.boxes"],
    "C8": ["view.box_width", "view.contour_width", "view.color", "view.true_blur"],
    "C9": ["score.empty_target"],
    "B4": ["area.enabled", "area.threshold", "area.unit"],
    "B11": [
        f"dataset.volume.{key}"
        for key in ("axis", "skip_empty", "resize", "trim_mm", "trim_slices", "window_low", "window_high", "window_of")
    ],
}


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def config(*overrides: str) -> Config:
    return typed(compose(overrides))


def told(path: str) -> list[str]:
    """The overrides of the command that a YAML opens with."""
    lines = (CONF / path).read_text().splitlines()
    first = next(line for line in lines if not line.startswith("# @package"))
    assert first.startswith("# python -m salip_exp"), f"{path} does not open with its command"
    return shlex.split(first)[4:]


@pytest.mark.parametrize("path", YAMLS)
def test_the_command_that_opens_a_yaml_composes_and_uses_it(path: str) -> None:
    overrides = told(path)
    group, name = Path(path).parent.name, Path(path).stem
    chosen = config(*overrides)
    assert isinstance(chosen, Config)
    if group in ("ablation", "preset"):
        assert any(each.lstrip("+") == f"{group}={name}" for each in overrides)
    elif group == "cache":
        assert chosen.cache.mode == name
    elif group == "of_data":
        assert name == f"{chosen.preset}_{chosen.dataset.name}"
    elif group == "unet":
        assert name == "default" or f"unet={name}" in overrides
    elif group == "tuning":
        assert chosen.tuning.sampler == name
    elif group:
        assert getattr(chosen, group).name == name


@pytest.mark.parametrize("dataset", options("dataset"))
def test_every_network_and_text_goes_with_every_data_set(dataset: str) -> None:
    for sam, clip, vdt in [("tiny", "tiny", "lungs"), ("vit_b", "vit_b_32", "fetal_head")]:
        chosen = config(f"dataset={dataset}", f"sam={sam}", f"clip={clip}", f"vdt={vdt}")
        assert (chosen.sam.name, chosen.clip.name, chosen.vdt.name) == (sam, clip, vdt)


@pytest.mark.parametrize("name", options("sam"))
def test_every_sam_composes(name: str) -> None:
    assert config(f"sam={name}").sam.name == name


@pytest.mark.parametrize("name", options("clip"))
def test_every_clip_composes(name: str) -> None:
    method = ["method=grounded_sam"] if name in METHODS["grounded_sam"].clips else []
    assert config(f"clip={name}", *method).clip.name == name


@pytest.mark.parametrize(
    ("dataset", "networks", "vdt", "k"),
    [
        ("phantom_cc359", ("tiny", "tiny"), "brain", 1),
        ("phantom_hc18", ("tiny", "tiny"), "fetal_head", 1),
        ("phantom_xray", ("tiny", "tiny"), "lungs", 2),
        ("cc359", ("vit_h", "vit_l_14"), "brain", 1),
        ("hc18", ("vit_h", "vit_l_14"), "fetal_head", 1),
        ("xray", ("vit_h", "vit_l_14"), "lungs", 2),
    ],
)
def test_a_data_set_brings_its_networks_text_and_k(dataset: str, networks: tuple[str, str], vdt: str, k: int) -> None:
    chosen = config(f"dataset={dataset}")
    assert (chosen.sam.name, chosen.clip.name) == networks
    assert (chosen.vdt.name, chosen.dataset.k, chosen.dataset.name) == (vdt, k, dataset)


def test_a_folder_takes_its_text_from_the_command_line() -> None:
    chosen = config("dataset=folder", "dataset.root=x", SENTENCES)
    assert chosen.vdt.sentences == ["A kidney on black.", "A bean-shaped organ, smooth."]
    assert config("dataset=folder", "vdt.file=organ.txt").vdt.file == "organ.txt"


@pytest.mark.parametrize("name", ["cc359", "hc18", "xray"])
def test_a_file_takes_the_place_of_the_set_that_comes_with_the_data(name: str) -> None:
    alone = config(f"dataset={name}", "vdt.file=organ.txt").vdt
    assert (alone.sentences, alone.file) == ([], "organ.txt")


@pytest.mark.parametrize("beside", ["vdt.sentences=[typed]", "+ablation=nonsense_prompt", "vdt=right_and_left"])
def test_a_file_takes_the_place_of_nothing_that_was_asked_for(beside: str) -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        config("dataset=xray", beside, "vdt.file=organ.txt")


@pytest.mark.parametrize("dataset", options("dataset"))
def test_the_ablation_switches_the_area_filter_off_on_every_data_set(dataset: str) -> None:
    text = [SENTENCES] if dataset == "folder" else []
    assert not config(f"dataset={dataset}", "+ablation=no_filter", *text).area.enabled


CHANGES = {
    "no_filter": lambda config: not config.area.enabled,
    "sam_clip": lambda config: config.method == "sam_clip",
    "view_box": lambda config: config.view.kind == "box",
    "view_contour": lambda config: config.view.kind == "contour",
    "view_reverse_blur": lambda config: config.view.kind == "reverse_blur",
    "single_prompt": lambda config: config.vdt.sentences == [f"a photo of {config.dataset.roi}"],
    "name_alone": lambda config: config.vdt.sentences == [config.dataset.roi],
    "nonsense_prompt": lambda config: len(config.vdt.sentences) == 1 and "bicycle" in config.vdt.sentences[0],
    "separate_lungs": lambda config: list(config.vdt.parts) == ["right", "left"] and not config.vdt.sentences,
    "right_lung": lambda config: (config.vdt.name, config.dataset.side, config.dataset.k) == ("right_lung", "right", 1),
    "left_lung": lambda config: (config.vdt.name, config.dataset.side, config.dataset.k) == ("left_lung", "left", 1),
    "no_tuning": lambda config: config.tuning.sampler == "none" and config.tuned is None,
    "vit_b": lambda config: config.sam.name == "vit_b",
    "vit_l": lambda config: config.sam.name == "vit_l",
    "clip_vit_b_32": lambda config: config.clip.name == "vit_b_32",
    "no_repair": lambda config: not config.repair.enabled,
}


LUNGS = ("separate_lungs", "right_lung", "left_lung")


@pytest.mark.parametrize(
    ("dataset", "name"),
    [("phantom_xray", name) for name in options("ablation")]
    + [(dataset, name) for name in options("ablation") if name not in LUNGS for dataset in ("phantom_cc359", "hc18")],
)
def test_an_ablation_changes_what_it_is_called_after_and_nothing_else(dataset: str, name: str) -> None:
    base = f"dataset={dataset}", "tuning=random", "tuning.space.area.pools=false", "repair=ladder"
    default, ablated = config(*base), config(*base, f"+ablation={name}")
    assert CHANGES[name](ablated)
    assert not CHANGES[name](default)
    assert [other for other, changed in CHANGES.items() if changed(ablated)] == [name]


def test_ablations_are_combined_in_one_list() -> None:
    both = config("dataset=hc18", "+ablation=[no_filter,vit_b,view_box]")
    assert all(CHANGES[name](both) for name in ("no_filter", "vit_b", "view_box"))


def test_ablations_of_lungs_are_combined_with_others() -> None:
    apart = config("dataset=xray", "+ablation=[separate_lungs,view_box]")
    assert CHANGES["separate_lungs"](apart) and CHANGES["view_box"](apart) and apart.dataset.k == 2
    alone = config("dataset=xray", "+ablation=[left_lung,single_prompt,no_filter]")
    assert alone.vdt.sentences == ["a photo of left lung"] and alone.dataset.side == "left"


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("dataset=hc18", "+ablation=separate_lungs"), "an image of hc18 holds dataset.k=1"),
        (("+ablation=right_lung",), "dataset.side=right chooses one organ of a pair, and phantom_cc359 has none"),
        (("dataset=hc18", "+ablation=left_lung"), "dataset.side=left chooses one organ of a pair, and hc18 has none"),
        (("dataset=xray", "dataset.side=left"), "add dataset.k=1"),
        (("dataset=xray", "dataset.k=1", "vdt=right_and_left"), "has a text for each of 2 organs (right, left)"),
        (("dataset=xray", "+ablation=[separate_lungs,single_prompt]"), "exclude each other"),
        (("dataset=xray", "vdt.parts={}", "vdt=custom"), "there is no text"),
        (("dataset=xray", "vdt=custom", "vdt.parts={a: {sentences: [x]}}"), "write +vdt.parts=..."),
        (("dataset=xray", "vdt=custom", "+vdt.parts={a: {sentence: [x]}}"), "keys name, sentences, file each"),
        (("dataset=xray", "vdt=custom", "+vdt.parts.a.sentences=[x]"), "keys name, sentences, file each"),
    ],
)
def test_lungs_are_asked_for_only_where_there_are_two(overrides: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(*overrides)
    assert sentence in str(caught.value) and "\n" not in str(caught.value)


def test_separate_texts_of_your_own_are_given_by_name() -> None:
    kidneys = "+vdt.parts={one: {name: one, sentences: [a b]}, other: {name: other, file: o.txt}}"
    chosen = config("dataset=folder", "dataset.root=x", "dataset.k=2", kidneys)
    assert (chosen.vdt.parts["one"].sentences, chosen.vdt.parts["other"].file) == (["a b"], "o.txt")


def test_methods_that_read_no_text_do_not_mind_how_many_there_are() -> None:
    assert config("dataset=xray", "+ablation=separate_lungs", "method=gt_sam").vdt.name == "right_and_left"


def test_the_ablation_wins_over_a_preset() -> None:
    assert config("preset=paper").area.enabled
    assert not config("+ablation=no_filter", "preset=paper").area.enabled


def test_what_is_kept_is_no_part_of_a_result_and_is_on_disk_by_default() -> None:
    assert config().cache == Config().cache
    assert config("cache=disk").cache == config().cache
    assert [config(f"cache={name}").cache.mode for name in options("cache")] == ["disk", "memory", "off"]
    assert config("cache.mode=off").cache.mode == "off"
    assert config("cache=off", "preset=paper", "dataset=hc18").cache.mode == "off"


@pytest.mark.parametrize("preset", options("preset"))
def test_a_preset_sets_every_open_choice(preset: str) -> None:
    written = leaves(yaml.safe_load((CONF / "preset" / f"{preset}.yaml").read_text()))
    missing = {row: sorted(set(wanted) - set(written)) for row, wanted in OPEN.items()}
    assert not {row: left for row, left in missing.items() if left}
    assert config(f"preset={preset}").preset == preset


def test_nothing_of_a_folders_volumes_is_left_out_unless_asked() -> None:
    own = config("dataset=folder", "vdt=brain").dataset.volume
    assert (own.skip_empty, own.trim_mm, own.trim_slices, own.per_volume) == (False, 0, 0, None)
    assert config("dataset=folder", "vdt=brain", "dataset.volume.trim_mm=7").dataset.volume.trim_mm == 7
    paper = config("dataset=folder", "vdt=brain", "preset=paper").dataset.volume
    assert (paper.skip_empty, paper.trim_slices) == (True, 20)
    assert config("dataset=cc359").dataset.volume.trim_mm == 20


def test_the_paper_preset_is_the_authors_code() -> None:
    paper = config("dataset=hc18", "preset=paper")
    resize, volume = paper.dataset.resize, paper.dataset.volume
    assert (resize.mode, resize.interpolation, resize.masks) == ("squash", "bilinear", "resize_first")
    assert (volume.resize, volume.window_of, volume.trim_mm, volume.trim_slices) == (False, "slice", 0, 20)
    assert paper.prompt.boxes == "outlines"
    assert (paper.view.fit, paper.view.inclusive) == ("center_crop", False)
    assert (paper.retrieval.prototype, paper.retrieval.max_overlap) == ("mean_first", 1.0)
    assert (paper.sam.crop_n_layers, paper.sam.crop_n_points_downscale_factor) == (1, 2)
    assert (paper.sam.box_nms_thresh, paper.sam.crop_nms_thresh, paper.sam.min_mask_region_area) == (0.9, 0.9, 200)
    assert (paper.area.threshold, paper.area.unit, paper.score.empty_target) == (40000, "pixels", "one")


def test_the_default_preset_is_the_schema_and_leaves_the_generator_to_sam() -> None:
    chosen, schema = config(), Config()
    written = leaves(yaml.safe_load((CONF / "preset" / "default.yaml").read_text()))
    assert not [key for key in written if key.startswith("sam.")]
    for key in written:
        assert attribute(chosen, key) == attribute(schema, key), key
    assert (chosen.sam.points_per_side, chosen.sam.stability_score_thresh) != (32, 0.95)


def test_the_command_line_wins_over_every_preset() -> None:
    for preset in options("preset"):
        chosen = config(f"preset={preset}", "view.fit=pad", "dataset.resize.side=128", "sam.box_nms_thresh=0.5")
        assert (chosen.view.fit, chosen.dataset.resize.side, chosen.sam.box_nms_thresh) == ("pad", 128, 0.5)


@pytest.mark.parametrize("name", ["brain", "fetal_head", "lungs", "right_lung", "left_lung"])
def test_shipped_sentences_are_an_ensemble_that_clip_can_read(name: str) -> None:
    sentences = config(f"vdt={name}").vdt.sentences
    assert 10 <= len(sentences) == len(set(sentences)) <= 14
    assert all(each.endswith(".") and len(each.split()) < 40 for each in sentences)


def test_separate_texts_are_those_of_each_side() -> None:
    parts = config("dataset=xray", "vdt=right_and_left").vdt.parts
    assert {name: part.sentences for name, part in parts.items()} == {
        side: config("dataset=xray", f"vdt={side}_lung").vdt.sentences for side in ("right", "left")
    }
    assert not set(parts["right"].sentences) & set(parts["left"].sentences)


def test_separate_texts_use_words_that_the_embedded_clip_was_taught() -> None:
    things = [text for thing in THINGS.values() for text in (*thing.names, *thing.looks)]
    taught = words([*things, *(each for text in vdt_sentences().values() for each in text)])
    parts = config("dataset=xray", "vdt=right_and_left").vdt.parts
    assert not {name: words(part.sentences) - taught for name, part in parts.items() if words(part.sentences) - taught}


def words(texts: list[str]) -> set[str]:
    return {word for text in texts for word in re.findall(r"[a-z]+(?:-[a-z]+)*", text.lower())}


def leaves(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def attribute(node: Any, key: str) -> Any:
    for name in key.split("."):
        node = getattr(node, name)
    return node
