"""What can be changed on the page, read from what a browser sends, and as the configuration that a run would have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from salip_exp._settings.validate import require_possible
from salip_exp.cascade.sentences import read_sentences
from salip_exp.config import Config, Task
from salip_exp.errors import ConfigError


@dataclass(frozen=True)
class Asked:
    """What the page asks for; every field is a key of the configuration (`KEYS`).

    Attributes:
        sentences: that CLIP reads, without those that are switched off.
        area_enabled: whether the area filter is on.
        area_threshold: in the unit that is configured.
        pred_iou_thresh: of SAM's generator, as the next two.
        stability_score_thresh: least stability of a candidate.
        box_nms_thresh: overlap of boxes from which on the lesser one leaves.
    """

    sentences: tuple[str, ...]
    area_enabled: bool
    area_threshold: float
    pred_iou_thresh: float
    stability_score_thresh: float
    box_nms_thresh: float

    @property
    def settings(self) -> dict[str, Any]:
        """The value of every key."""
        return {KEYS[name]: value for name, value in asdict(self).items()}


KEYS = {
    "sentences": "vdt.sentences",
    "area_enabled": "area.enabled",
    "area_threshold": "area.threshold",
    "pred_iou_thresh": "sam.pred_iou_thresh",
    "stability_score_thresh": "sam.stability_score_thresh",
    "box_nms_thresh": "sam.box_nms_thresh",
}


def asked_of(config: Config) -> Asked:
    """What a configuration asks for; raises what `read_sentences` raises."""
    return Asked(
        sentences=tuple(read_sentences(config.vdt)),
        area_enabled=config.area.enabled,
        area_threshold=config.area.threshold,
        pred_iou_thresh=config.sam.pred_iou_thresh,
        stability_score_thresh=config.sam.stability_score_thresh,
        box_nms_thresh=config.sam.box_nms_thresh,
    )


def read_asked(told: object) -> Asked:
    """What a browser asks for.

    Raises:
        ConfigError: a field is absent, is none of these, or holds something of another kind.
    """
    if not isinstance(told, Mapping) or set(told) != {each.name for each in fields(Asked)}:
        raise ConfigError(f"asked takes exactly {', '.join(KEYS)}")
    for name, value in told.items():
        if not _FITS[name](value):
            raise ConfigError(f"{KEYS[name]} takes no {value!r}")
    numbers = {name: float(value) for name, value in told.items() if _FITS[name] is _is_number}
    sentences = tuple(each.strip() for each in told["sentences"])
    return Asked(sentences=sentences, area_enabled=told["area_enabled"], **numbers)


def configured(base: Config, asked: Asked) -> Config:
    """The configuration of a run that asks for this.

    Args:
        base: of the command, whose other keys stay.

    Raises:
        ConfigError: a value is out of range, there is no sentence, or one is empty.
    """
    config = replace(
        base,
        task=Task.run,
        vdt=replace(base.vdt, sentences=list(asked.sentences), file=None),
        area=replace(base.area, enabled=asked.area_enabled, threshold=asked.area_threshold),
        sam=replace(
            base.sam,
            pred_iou_thresh=asked.pred_iou_thresh,
            stability_score_thresh=asked.stability_score_thresh,
            box_nms_thresh=asked.box_nms_thresh,
        ),
    )
    require_possible(config)
    read_sentences(config.vdt)
    return config


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FITS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(KEYS, _is_number),
    "area_enabled": lambda value: isinstance(value, bool),
    "sentences": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
}
