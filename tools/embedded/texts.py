"""What the embedded CLIP reads: many differently worded sentences for each thing that a candidate can show.

A class is a thing; its sentences are drawn from the names, looks and templates of `texts.yaml`, and, for the organs,
from the sentences of `conf/vdt/`. Words outside these never got a meaning: the model card says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
import yaml


@dataclass(frozen=True)
class Thing:
    """Something a candidate can show: what it is called, and what it looks like."""

    names: tuple[str, ...]
    looks: tuple[str, ...]


_TEXTS = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text("utf-8"))
TEMPLATES: tuple[str, ...] = tuple(_TEXTS["templates"])
THINGS = {name: Thing(tuple(t["names"]), tuple(t["looks"])) for name, t in _TEXTS["things"].items()}
_VDT = {
    "brain": "brain",
    "fetal_head": "fetal_head",
    "lung": "lungs",
    "liver": "liver_ct",
    "spleen": "spleen_ct",
    "kidney": "kidneys_ct",
    "left_ventricle": "left_ventricle_mr",
}


def vdt_sentences() -> dict[str, list[str]]:
    """The sentences of `conf/vdt/` for each organ class."""
    folder = resources.files("salip_exp.conf") / "vdt"
    texts = {name: (folder / f"{file}.yaml").read_text("utf-8") for name, file in _VDT.items()}
    return {name: yaml.safe_load(text)["sentences"] for name, text in texts.items()}


def draw(rng: np.random.Generator, name: str, vdt: dict[str, list[str]]) -> str:
    """A sentence for a class, in some wording."""
    if name in vdt and rng.random() < 0.3:
        return str(rng.choice(vdt[name]))
    thing = THINGS[name]
    look, other = rng.choice(thing.looks, 2, replace=False)
    text = str(rng.choice(TEMPLATES)).format(name=rng.choice(thing.names), look=look, look2=other)
    return text[0].upper() + text[1:] + "." if rng.random() < 0.5 else text
