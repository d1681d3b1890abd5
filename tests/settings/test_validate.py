"""What is wrong with a configuration is said in one sentence that names the key and what is allowed."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import keys, nearest, typed
from salip_exp.config import Config
from salip_exp.errors import ConfigError

BASE = OmegaConf.to_container(compose([]), resolve=True, enum_to_str=True)
"""Composed once: a composition costs a tenth of a second."""


def changed(**values: Any) -> Config:
    """The default configuration with dotted keys (`__` for the dot) set past Hydra's own checks."""
    cfg = OmegaConf.create(BASE)
    for key, value in values.items():
        OmegaConf.update(cfg, key.replace("__", "."), value, force_add=True, merge=False)
    return typed(cfg)


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        typed(compose(overrides))
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def ranges(node: Any, prefix: str = "") -> list[tuple[str, float | None, float | None, Any]]:
    found = []
    for each in fields(node):
        value = getattr(node, each.name)
        if is_dataclass(value):
            found += ranges(value, f"{prefix}{each.name}__")
        elif each.metadata and not isinstance(value, list):
            found.append((prefix + each.name, each.metadata["low"], each.metadata["high"], value))
    return found


RANGES = ranges(typed(OmegaConf.create(BASE)))


def test_the_defaults_are_valid_and_typed() -> None:
    config = changed()
    assert isinstance(config, Config)
    assert config.dataset.phantom is not None
    assert config.dataset.phantom.n == 12


@settings(max_examples=40, deadline=None)
@given(st.from_regex(r"[a-z]{1,12}(_[a-z]{1,8})?", fullmatch=True), st.sampled_from(["", "sam__", "dataset__files__"]))
@pytest.mark.fault("C1")
def test_a_key_that_does_not_exist_is_refused_with_the_nearest(name: str, group: str) -> None:
    dotted = f"{group}{name}".replace("__", ".")
    if dotted in keys() or any(each.startswith(f"{dotted}.") for each in keys()):
        return
    with pytest.raises(ConfigError, match="is not a key") as caught:
        changed(**{dotted.replace(".", "__"): 1})
    assert nearest(dotted) in str(caught.value)


@pytest.mark.parametrize(("name", "low", "high", "value"), RANGES, ids=[row[0] for row in RANGES])
@pytest.mark.fault("C2")
def test_a_number_outside_its_range_is_refused(name: str, low: float | None, high: float | None, value: Any) -> None:
    step = 1 if isinstance(value, int) or value is None else 0.001
    outside = ([low - step] if low is not None else []) + ([high + step] if high is not None else [])
    for number in outside:
        with pytest.raises(ConfigError, match=f"{name.replace('__', '.')}=.* is out of range: allowed is"):
            changed(**{name: number})
    without_end = {float: (math.nan, math.inf), int: (2**63, 10**400)}
    for number in without_end.get(type(value), ()):
        with pytest.raises(ConfigError, match="out of range"):
            changed(**{name: number})


@pytest.mark.ci
@settings(max_examples=15, deadline=None)
@given(st.floats(0.001, 1), st.integers(1, 256))
def test_numbers_inside_their_range_pass(threshold: float, points: int) -> None:
    config = changed(area__threshold=threshold, sam__points_per_side=points)
    assert (config.area.threshold, config.sam.points_per_side) == (threshold, points)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("+typo=1", "typo is not a key of the configuration: the nearest is "),
        ("sam.points_per_side=0", "sam.points_per_side=0 is out of range: allowed is 1 to 256"),
        ("sam.pred_iou_thresh=1.5", "sam.pred_iou_thresh=1.5 is out of range: allowed is 0 to 1"),
        ("area.threshold=nan", "area.threshold=nan is out of range: allowed is 0 or more"),
        ("sam.points_per_sid=8", "the nearest is sam.points_per_side"),
        ("++sam.points_per_sid=8", "the nearest is sam.points_per_side"),
        ("points_per_side=8", "the nearest is sam.points_per_side"),
        (
            "sam.points_per_side=many",
            "sam.points_per_side=many is not possible: sam.points_per_side takes a whole number",
        ),
        ("sam.points_per_side=1.5", "takes a whole number"),
        ("resume=perhaps", "resume takes true or false"),
        ("view.color=[a,b,c]", "view.color takes a list, each entry a whole number"),
        ("dataset.limit=few", "dataset.limit takes a whole number, or null"),
        ("method=gt", "method takes one of salip, sam_clip, gt_sam, unprompted_sam"),
        ("dataset.volume=3", "dataset.volume is a group of keys"),
        ("vdt=liver", "of another organ say how it looks: vdt.sentences="),
        ("sam=vit_x", "sam=vit_x does not exist: the nearest is sam=vit_"),
        ("dataset=hc19", "the nearest is dataset=hc18"),
        ("ablation=no_filter", "write +ablation=no_filter"),
        ("+ablation=no_filte", "the nearest is ablation=no_filter"),
        ("+sam=vit_b", "sam=... takes no plus"),
        ("sam=tiny,vit_b", "-m runs each"),
        ("dataset.limit", "cannot be read as KEY=VALUE"),
        ("sam=null", "sam=null cannot be set"),
        ("hydra.rum.dir=x", "not a key of Hydra"),
        ("~sam", "sam.name has no value"),
        ("seed=${nope}", "seed cannot be resolved"),
    ],
)
@pytest.mark.fault("C1", "C2")
def test_a_wrong_override_gives_one_sentence(override: str, sentence: str) -> None:
    assert sentence in refusal(override)


def test_a_key_below_what_the_data_set_has_not_is_named() -> None:
    sentence = "dataset.phantom.n=3 cannot be set: dataset.phantom is null here"
    assert sentence in refusal("dataset=folder", "dataset.phantom.n=3", "seed=3")
    assert sentence in refusal("dataset=folder", "dataset.phantom.n=3", "seed=3", "dataset.phantom.size=64")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sam__points_per_side": 1, "sam__crop_n_layers": 1, "sam__crop_n_points_downscale_factor": 2}, "at least 2"),
        ({"area__threshold": 0}, "area.threshold=0"),
        ({"area__threshold": 40000}, "add area.unit=pixels"),
        ({"dataset__volume__window_low": 50, "dataset__volume__window_high": 50}, "must lie below"),
        (
            {"task": "experiment", "experiment__name": "x", "experiment__parts": ["table1"]}
            | {"experiment__images__hc18": 5},
            "experiment.images is of real images, and data=real was not asked for",
        ),
        ({"dataset__limit": 3, "dataset__sample": 3}, "exclude each other"),
        ({"dataset__phantom__n": 7}, "multiple of 6"),
        ({"dataset__layout": "folder"}, "dataset.phantom has no layout folder"),
        ({"vdt__file": "organ.txt", "vdt__sentences": ["typed"]}, "vdt.file=organ.txt exclude each other"),
        ({"vdt__sentences": []}, "vdt.sentences="),
        ({"method": "grounded_sam"}, "take clip=owlv2 or clip=grounding_dino or clip=sam3"),
        ({"method": "sam3_text", "clip__name": "owlv2"}, "asks more of its CLIP than clip=owlv2 has: take clip=sam3"),
        ({"clip__name": "sam3"}, "embeds no pictures: method=grounded_sam asks it"),
        ({"confidence__by": "margin"}, "in the scale of CLIP's scores, take confidence.by=ensemble"),
        ({"confidence__by": "ensemble"}, "confidence.by=ensemble is none of confidence.signals=[stability,"),
        ({"view__color": [255, 0]}, "view.color"),
        ({"view__color": [255, 0, 256]}, "allowed is 0 to 255"),
        (
            {"dataset__phantom": None, "dataset__layout": "folder", "dataset__files__masks": None},
            "dataset.missing_masks=predict",
        ),
        (
            {"method": "gt_sam", "dataset__files__masks": None, "dataset__missing_masks": "predict"},
            "method=gt_sam cannot do without masks",
        ),
        (
            {"method": "oracle", "dataset__files__masks": None, "dataset__missing_masks": "predict"},
            "method=oracle cannot do without masks",
        ),
        (
            {"method": "lsg_sam_reference", "dataset__files__masks": None, "dataset__missing_masks": "predict"},
            "method=lsg_sam_reference cannot do without masks",
        ),
        ({"task": "cache", "cache__mode": "off"}, "cache=off keeps nothing there"),
        ({"task": "cache", "cache__mode": "memory"}, "cache=memory keeps nothing there"),
        ({"cache__clear": True}, "cache.clear=true removes what is kept between runs, which task=run does not"),
        ({"cache__prune": True, "cache__mode": "off"}, "add task=cache"),
        ({"cache__older_than_days": 3, "task": "report"}, "cache.older_than_days=3.0 removes what is kept"),
        ({"task": "cache", "cache__clear": True, "cache__prune": True}, "cache.prune=true exclude each other"),
        (
            {"task": "cache", "cache__clear": True, "cache__older_than_days": 0},
            "older_than_days=0.0 exclude each other",
        ),
        ({"cache__folder": ""}, "cache.folder is empty"),
    ],
)
@pytest.mark.fault("C3")
def test_keys_that_contradict_each_other_are_refused(values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        changed(**values)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("figures", ["none", "all", "worst:5", "worst:5,best:5,random:5,median:1"])
def test_figures_that_can_be_drawn_pass(figures: str) -> None:
    assert changed(figures=figures).figures == figures


@pytest.mark.parametrize("figures", ["", "worst", "worst:0", "ugly:3", "worst:5,", "none,worst:5", "worst:-1"])
def test_figures_that_cannot_be_drawn_are_refused(figures: str) -> None:
    with pytest.raises(ConfigError, match="rule:count"):
        changed(figures=figures)


@pytest.mark.parametrize("method", ["gt_sam", "unprompted_sam", "oracle"])
def test_methods_without_clip_need_no_text(method: str) -> None:
    assert changed(method=method, vdt__sentences=[]).vdt.sentences == []


@pytest.mark.fault("C5", "R10")
def test_a_target_is_refused_and_never_executed(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    sentence = refusal("+sam._target_=os.system", f"+sam.command='touch {canary}'")
    assert "_target_ is not a key" in sentence
    assert not canary.exists()


def test_data_lie_below_salip_data_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SALIP_DATA", "/data")
    assert typed(compose(["dataset=hc18"])).dataset.root == str(Path("/data/hc18"))
    assert typed(compose(["dataset=hc18", "dataset.root=here"])).dataset.root == "here"
    assert changed().dataset.root is None
    monkeypatch.delenv("SALIP_DATA")
    assert typed(compose(["dataset=hc18"])).dataset.root is None
