"""What a browser sends becomes the configuration that a run would have, or is refused by one sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from salip_exp._exploring.asked import Asked, asked_of, configured, read_asked
from salip_exp.config import Config, Task, VdtConfig
from salip_exp.errors import ConfigError

ASKED = Asked(("two lungs",), True, 0.4, 0.8, 0.9, 0.7)
SENT: dict[str, Any] = {
    "sentences": [" two lungs "],
    "area_enabled": True,
    "area_threshold": 0.4,
    "pred_iou_thresh": 0.8,
    "stability_score_thresh": 0.9,
    "box_nms_thresh": 0.7,
}


@pytest.fixture
def base() -> Config:
    return replace(Config(task=Task.explore), vdt=VdtConfig("lungs", ["a lung"]))


def test_what_is_asked_is_read_and_comes_back_from_the_configuration(base: Config) -> None:
    assert read_asked(SENT) == ASKED
    made = configured(base, ASKED)
    assert asked_of(made) == ASKED and made.task is Task.run
    assert configured(base, asked_of(base)) == replace(base, task=Task.run)


@pytest.mark.parametrize(
    "change",
    [
        {"sentences": "one"},
        {"sentences": [1]},
        {"area_enabled": 1},
        {"area_threshold": "0.4"},
        {"pred_iou_thresh": True},
        {"box_nms_thresh": None},
        {"dataset.root": "/"},
    ],
)
def test_what_is_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        read_asked(SENT | change)
    for odd in (None, [], {name: value for name, value in SENT.items() if name != "sentences"}):
        with pytest.raises(ConfigError, match="asked takes exactly"):
            read_asked(odd)


@pytest.mark.parametrize(
    "asked",
    [
        replace(ASKED, sentences=()),
        replace(ASKED, sentences=("a", "")),
        replace(ASKED, area_threshold=1.5),
        replace(ASKED, pred_iou_thresh=float("nan")),
        replace(ASKED, box_nms_thresh=-0.1),
    ],
)
def test_what_no_run_could_have_is_refused(base: Config, asked: Asked) -> None:
    with pytest.raises(ConfigError):
        configured(base, asked)
