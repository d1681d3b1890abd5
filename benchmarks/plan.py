"""How much of each benchmark is run for a set of weights: the whole, or little of it to see that it works."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Sizes.

    Attributes:
        weights: of `networks.WEIGHTS`.
        repeats: timed runs of each contestant, after one for equality that is not timed.
        points: points per side where they are not those of the weights' own configuration; None: those.
        images: of the sweep.
        trials: of the sweep.
        grids: points per side that the sweep draws from.
        per_grid: trials of the sweep that the reference is timed on (and compared with), for each grid.
        cases: phantoms of the study, and of each set for other arithmetic.
        studies: repeats of the study.
        run_cases: phantoms of a study through whole runs.
        compiles: whether other arithmetic includes torch.compile, which takes minutes to begin.
    """

    weights: str
    repeats: int = 5
    points: int | None = None
    images: int = 5
    trials: int = 100
    grids: tuple[int, ...] = (4, 8, 16)
    per_grid: int = 3
    cases: int = 12
    studies: int = 3
    run_cases: int = 36
    compiles: bool = True


FULL = {
    "tiny": Plan("tiny", per_grid=10),
    "vit_b": Plan("vit_b", repeats=1, points=16),
    "vit_b+vit_l_14": Plan("vit_b+vit_l_14", repeats=1),
}
QUICK = {
    "tiny": Plan("tiny", 1, images=2, trials=12, cases=3, studies=1, run_cases=3, compiles=False),
    "vit_b": Plan("vit_b", 1, points=4, images=1, trials=6, grids=(2, 4), per_grid=1),
    "vit_b+vit_l_14": Plan("vit_b+vit_l_14", 1, points=4, images=1, trials=3, grids=(2, 4), per_grid=1),
}
