"""Slices of abdomens and hearts with the mask of one organ, as `dataset=folder` reads them.

python -m tools.embedded.slices DIR --count 40 --seed 77

makes DIR/liver, DIR/spleen, DIR/kidneys and DIR/left_ventricle, each with `images/` and `masks/` of equal names: for
looking at what the networks make of such organs, and for choosing settings on seeds that no training saw.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from salip_exp._files import png, write_bytes
from tools.embedded.abdomen import PARTS as TRUNK
from tools.embedded.abdomen import abdomen
from tools.embedded.heart import PARTS as CHEST
from tools.embedded.heart import heart

_Slice = tuple[NDArray[np.uint8], NDArray[np.uint8]]
_Draw = Callable[[np.random.Generator, int], _Slice]

ORGANS: dict[str, tuple[_Draw, tuple[tuple[int, ...], ...]]] = {
    "liver": (abdomen, (TRUNK["liver"],)),
    "spleen": (abdomen, (TRUNK["spleen"],)),
    "kidneys": (abdomen, (TRUNK["right_kidney"], TRUNK["left_kidney"])),
    "left_ventricle": (heart, (CHEST["left_ventricle"],)),
}
SMALLEST = {"liver": 0.02, "spleen": 0.004, "kidneys": 0.002, "left_ventricle": 0.005}
"""Share of the picture that each part must take, for a slice to show its organ."""
SIDE = 256


def slices(organ: str, seed: int) -> Iterator[_Slice]:
    """Endless pictures, uint8 (256, 256), and masks, 0 and 255, of slices that show an organ whole."""
    draw, parts = ORGANS[organ]
    for index in count():
        picture, labels = draw(np.random.default_rng([seed, list(ORGANS).index(organ), index]), SIDE)
        masks = [np.isin(labels, part) for part in parts]
        if all(mask.mean() > SMALLEST[organ] for mask in masks):
            yield picture, np.any(masks, axis=0).astype(np.uint8) * 255


def write(folder: Path, organ: str, number: int, seed: int) -> None:
    """Write so many pictures with masks below `folder/organ`."""
    for index, (picture, mask) in enumerate(islice(slices(organ, seed), number)):
        write_bytes(folder / organ / "images" / f"{index:03d}.png", png(picture))
        write_bytes(folder / organ / "masks" / f"{index:03d}.png", png(mask))


def main() -> None:
    """All organs into one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--seed", type=int, default=77)
    given = parser.parse_args()
    for organ in ORGANS:
        write(given.folder, organ, given.count, given.seed)


if __name__ == "__main__":
    main()
