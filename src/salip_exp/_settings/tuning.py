"""What is wrong with the configuration of a study, in sentences; read before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from salip_exp.cascade.options import no_point, too_many
from salip_exp.config import AreaSpace, AreaUnit, Config, RealSpace, SamConfig, Sampler, Task, WholeSpace
from salip_exp.methods.traits import METHODS

AREA = "area.threshold"
GENERATOR = (
    "points_per_side",
    "pred_iou_thresh",
    "stability_score_thresh",
    "box_nms_thresh",
    "crop_nms_thresh",
    "crop_n_layers",
    "min_mask_region_area",
)
"""Settings of SAM that can be searched, in the order in which they are drawn."""

_Section = WholeSpace | RealSpace | AreaSpace


def searches(config: Config) -> bool:
    """Whether the command makes a study."""
    return config.task is Task.tune or (config.task is Task.run and config.tuning.sampler is not Sampler.none)


def sampler_of(config: Config) -> Sampler:
    """The sampler in use; `task=tune` without one searches at random, as the paper does."""
    chosen = config.tuning.sampler
    return Sampler.random if chosen is Sampler.none else chosen


def contradictions(config: Config) -> Iterator[str]:
    """One sentence for each thing that cannot be."""
    if not searches(config):
        return
    if config.tuned is not None:
        yield f"tuned={config.tuned} and tuning exclude each other: use what was found, or search"
    if not METHODS[config.method].searched:
        yield f"method={config.method} has none of the settings that are searched: use method=salip or sam_clip"
    limits = {each.name: each.metadata for each in fields(SamConfig)}
    for name in GENERATOR:
        low, high = limits[name]["low"], limits[name]["high"]
        yield from _section(f"tuning.space.{name}", getattr(config.tuning.space, name), low, high)
    yield from _area(config)
    yield from _grids(config)
    yield from _whole_space(config)


def _section(name: str, section: _Section, low: float, high: float | None) -> Iterator[str]:
    ends = [section.low, section.high]
    if section.choices is not None and ends != [None, None]:
        yield f"{name} has both choices and a range: set {name}.choices=null, or low and high to null"
    if section.choices == []:
        yield f"{name}.choices=[] leaves nothing to choose: null keeps the setting as it is"
    if ends.count(None) == 1:
        yield f"{name} has one end of a range: give {name}.low and {name}.high"
    if None not in ends and section.low >= section.high:  # type: ignore[operator]
        yield f"{name}.low={section.low} must lie below {name}.high={section.high}"
    for value in [*(section.choices or []), *(end for end in ends if end is not None)]:
        if not low <= value <= (value if high is None else high):
            allowed = f"{low} or more" if high is None else f"{low} to {high}"
            yield f"{name} holds {value}, which is out of range: allowed is {allowed}"


def _area(config: Config) -> Iterator[str]:
    section = config.tuning.space.area
    searched = section.pools or section.choices is not None or section.low is not None or section.high is not None
    if searched and not config.area.enabled:
        yield (
            "area.enabled=false and a search for the area threshold exclude each other: "
            "tuning.space.area.pools=false leaves it out"
        )
    if section.pools and (section.choices is not None or section.low is not None or section.high is not None):
        yield "tuning.space.area is given by the pools and by values: add tuning.space.area.pools=false for the latter"
    if section.choices is not None and 0 in section.choices:
        yield "tuning.space.area.choices holds 0, which drops every candidate: give more than 0"
    yield from _section("tuning.space.area", section, 0, 1 if section.unit is AreaUnit.fraction else None)


def _grids(config: Config) -> Iterator[str]:
    """The smallest and the largest grid that the search reaches, each with the most crop layers."""
    space, downscale = config.tuning.space, config.sam.crop_n_points_downscale_factor
    sides = space.points_per_side.choices or _ends(space.points_per_side, config.sam.points_per_side)
    layers = max(space.crop_n_layers.choices or _ends(space.crop_n_layers, config.sam.crop_n_layers))
    yield from no_point("tuning.space.points_per_side", min(sides), layers, downscale)
    yield from too_many("tuning.space.points_per_side", max(sides), layers, downscale)


def _ends(section: WholeSpace, setting: int) -> list[int]:
    """Of the range, or the setting as it is where there is none."""
    return [setting] if section.low is None or section.high is None else [section.low, section.high]


def _whole_space(config: Config) -> Iterator[str]:
    space = config.tuning.space
    sections = {name: getattr(space, name) for name in (*GENERATOR, "area")}
    ranges = [name for name, each in sections.items() if each.low is not None or getattr(each, "pools", False)]
    if not ranges and all(each.choices is None for each in sections.values()):
        yield "tuning.space is empty: give at least one setting a list or a range"
    if config.tuning.sampler is Sampler.grid and ranges:
        yield (
            f"tuning=grid needs lists, and {', '.join(f'tuning.space.{name}' for name in ranges)} "
            "is searched in a range: give choices, or leave it out"
        )
