"""Signals and DSC of phantoms under stress, a line of JSON each: python -m tools.confidence.collect SEED OUT

Phantoms of a seed that no run scores are spoilt in many ways, or asked for another organ, whose DSC is 0. What is there
in OUT already is not done again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from salip_exp._runs.lab import Lab
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import ConfidenceConfig, Config, EmptyTarget
from salip_exp.data.case import Case
from salip_exp.evaluation._confidence import signals
from salip_exp.evaluation.metrics import dice
from salip_exp.methods.base import Method

_Image = NDArray[Any]
_Spoil = Callable[[_Image, float, np.random.Generator], Any]

TEXTS = {"phantom_hc18": "fetal_head", "phantom_xray": "lungs", "phantom_cc359": "brain"}
"""Sets of phantoms, and what is asked for there."""
DRAWS = 2  # of every phantom
CLEAN, WRONG = 0.1, 0.15  # shares of the draws that are left alone, and that are asked for another organ


def _blurred(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    return cv2.GaussianBlur(image, (0, 0), 0.5 + 10 * strength)


def _noisy(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    return image + rng.normal(0, 120 * strength, image.shape[:2])[..., None]


def _speckled(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    return image * (1 + strength * cv2.GaussianBlur(rng.normal(0, 2, image.shape[:2]), (0, 0), 1.0))[..., None]


def _field(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    field = cv2.resize(rng.normal(0, 1, (3, 3)), image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return image * np.exp(strength * field)[..., None]


def _gamma(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    return 255 * (np.clip(image, 0, 255) / 255) ** np.exp(rng.choice([-1.5, 1.5]) * strength)


def _flat(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    return image.mean() + (image - image.mean()) * (1 - 0.97 * strength)


def _inverted(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    return strength * (255 - image) + (1 - strength) * image


def _hidden(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    spoilt = image.copy()
    height, width = (round(side * (0.15 + 0.65 * strength)) for side in image.shape[:2])
    top, left = (rng.integers(0, side - part) for side, part in zip(image.shape, (height, width), strict=False))
    spoilt[top : top + height, left : left + width] = rng.uniform(0, 255)
    return spoilt


def _shadowed(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    columns = np.arange(image.shape[1]) / image.shape[1]
    shadow = np.exp(-(((columns - rng.uniform(0.2, 0.8)) / (0.05 + 0.25 * strength)) ** 2))
    return image * (1 - 0.95 * strength * shadow)[None, :, None]


def _coarse(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    factor = 1 + 19 * strength
    small = cv2.resize(image, None, fx=1 / factor, fy=1 / factor, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def _ghosted(image: _Image, strength: float, rng: np.random.Generator) -> Any:
    return image + 0.7 * strength * np.roll(image, image.shape[0] // int(rng.integers(3, 7)), axis=0)


SPOILT: tuple[_Spoil, ...] = (
    _blurred, _noisy, _speckled, _field, _gamma, _flat, _inverted, _hidden, _shadowed, _coarse, _ghosted,
)  # fmt: skip


def _configured(dataset: str, text: str, seed: int, images: int, method: str) -> Config:
    told = [
        f"dataset={dataset}",
        f"vdt={text}",
        f"dataset.phantom.n={_parts(dataset, images)}",
        f"dataset.phantom.seed={seed}",
    ]
    return typed(compose([*told, f"method={method}"]))


def _parts(dataset: str, images: int) -> int:
    """Volumes, of which three slices are taken each, in six groups of equal size; or images."""
    return images // 18 * 6 if dataset == "phantom_cc359" else images


def _asked(seed: int, images: int) -> Iterator[tuple[str, Case, str, str]]:
    """Each draw: its name, the case as it is asked, what was done to it, and the text; the sets by turns."""
    sets = [Lab().dataset(_configured(name, text, seed, images, "salip")) for name, text in TEXTS.items()]
    for number, refs in enumerate(zip_longest(*(each.refs for each in sets))):
        for (dataset, text), ref in zip(TEXTS.items(), refs, strict=True):
            if ref is None:
                continue
            case = ref.load()
            for draw in range(DRAWS):
                rng = np.random.default_rng([seed, number, draw, len(dataset)])
                yield f"{dataset}/{case.case_id}/{draw}", *_drawn(case, text, rng)


def _drawn(case: Case, text: str, rng: np.random.Generator) -> tuple[Case, str, str]:
    share = rng.uniform()
    if share < CLEAN:
        return case, "clean", text
    if share < CLEAN + WRONG:
        return replace(case, mask=np.zeros(case.image.shape[:2], bool)), "wrong", _other(text, rng)
    image, said = case.image.astype(np.float64), []
    for number in rng.choice(len(SPOILT), rng.integers(1, 3), replace=False).tolist():  # one, or two on each other
        severity = int(rng.integers(1, 6))
        image = np.clip(SPOILT[number](image, severity / 5, rng), 0, 255)
        said.append(f"{SPOILT[number].__name__[1:]}:{severity}")
    return replace(case, image=np.round(image).astype(np.uint8)), " ".join(said), text


def _other(text: str, rng: np.random.Generator) -> str:
    return str(rng.choice([each for each in TEXTS.values() if each != text]))


def _row(method: Method, name: str, case: Case, k: int) -> dict[str, object]:
    found = method.predict(case)
    assert case.mask is not None
    return {
        "case": name,
        "dsc": dice(found.mask, case.mask, EmptyTarget.zero),
        "subject": f"{case.dataset}/{case.subject}",
        "status": str(found.status),
        **signals(found, k, ConfidenceConfig().signals),
    }


def main(seed: int, images: int, out: Path) -> None:
    """Append a line for each draw and each method that is not there."""
    lines = out.read_text().splitlines() if out.exists() else []
    known = {(each["case"], each["method"]) for each in map(json.loads, lines)}
    lab, methods = Lab(), {}
    with out.open("a") as stream:
        for name, case, done, text in _asked(seed, images):
            for method in ("salip", "sam_clip"):
                if (name, method) in known:
                    continue
                config = _configured(name.partition("/")[0], text, seed, images, method)
                if (method, text, config.dataset.k) not in methods:
                    methods[method, text, config.dataset.k] = lab.method(config)
                row = _row(methods[method, text, config.dataset.k], name, case, config.dataset.k)
                stream.write(json.dumps(row | {"method": method, "done": done, "k": config.dataset.k}) + "\n")
                stream.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
