"""What choosing on a few images is worth, from the matrices beside this file.

python experiments/tuning/measure.py    # writes choices.csv, objectives.csv, worth.csv and the picture; prints tables

Of every matrix, DRAWS draws of tuning images are made as a study makes them, each with a random part of the trials; a
rule chooses among these by the tuning images, as a study does; and the mean DSC of the choice over the images of all
other subjects is what the choice is worth.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from scipy.stats import spearmanr

from salip_exp._settings.tuning import AREA
from salip_exp._tuning.choosing import Certainty, certainty, choose
from salip_exp._tuning.objectives import OBJECTIVES
from salip_exp._tuning.space import Values
from salip_exp._tuning.study import order
from salip_exp._tuning.trials import TrialRow
from salip_exp._tuning.worker import Outcome
from salip_exp.config import Choice
from salip_exp.data.case import CaseRef, failing
from salip_exp.errors import CaseError

HERE = Path(__file__).parent
PICTURE = HERE.parents[1] / "docs" / "pictures" / "tuning.png"
DRAWS, SEED = 40, 4321
STARTS = {0: "configured", -1: "SAM's defaults", -2: "area 0.15"}
N_TRIALS = 50
IMAGES, TRIALS = (5, 10, 20, 30), (20, 50, 100)


@dataclass(frozen=True)
class Matrix:
    """All trials of a data set on all images.

    Attributes:
        name: of the data set, with the seed of the trials where it is not the usual one.
        trials: by number, the bad starts below 0.
        refs: of the images.
    """

    name: str
    trials: Mapping[int, TrialRow]
    refs: Sequence[CaseRef]

    def draws(self, n: int) -> Iterator[tuple[list[str], list[str]]]:
        """DRAWS times n tuning images, and the images of all other subjects."""
        for number in range(DRAWS):
            drawn = [self.refs[i] for i in order(self.refs, [SEED, number])[:n]]
            subjects = {ref.subject for ref in drawn}
            others = [ref.case_id for ref in self.refs if ref.subject not in subjects]
            yield [ref.case_id for ref in drawn], others

    def studies(self, start: int, total: int) -> list[list[TrialRow]]:
        """For every draw the trials of a study that begins with a start, which is its trial 0."""
        drawn = np.array([number for number in self.trials if number > 0])
        picks = [np.random.default_rng([SEED, i]).choice(drawn, total - 1, replace=False) for i in range(DRAWS)]
        return [[replace(self.trials[start], number=0), *(self.trials[i] for i in sorted(each))] for each in picks]


def read(path: Path) -> Matrix:
    """A matrix as `matrix.py` wrote it."""
    table = pd.read_parquet(path)
    known = table.drop_duplicates("image")
    error = failing(CaseError("E_READ", "scores alone are here"))
    refs = [CaseRef(each["image"], each["group"], each["subject"], error) for each in known.to_dict("records")]
    dimensions = [name for name in table.columns if name.startswith("sam.") or name == AREA]
    rows = {}
    for number, part in table.groupby("trial"):
        images = {each["image"]: {name: each[name] for name in OBJECTIVES} for each in part.to_dict("records")}
        values: Values = {name: part[name].iloc[0].item() for name in dimensions}
        rows[int(str(number))] = TrialRow(int(str(number)), values, 0.0, Outcome(images), None, 0.0)
    return Matrix(path.stem, rows, refs)


def on(trial: TrialRow, images: Iterable[str]) -> TrialRow:
    """A trial as it is with other images."""
    return replace(trial, outcome=Outcome({image: trial.outcome.images[image] for image in images}))


def chosen(trials: Sequence[TrialRow], images: Sequence[str], rule: Choice, objective: str = "dsc") -> TrialRow:
    """What a rule takes by some images, with its scores on all of them."""
    found = choose([on(each, images) for each in trials], objective, rule, configured_first=True)
    assert found is not None
    return next(each for each in trials if each.number == found.number)


def worth(trial: TrialRow, images: Iterable[str]) -> float:
    """Mean DSC."""
    return on(trial, images).outcome.mean("dsc")


def choices(matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Starts and rules: the choice on five images among N_TRIALS trials, on all other subjects."""
    for start, name in STARTS.items():
        told = list(zip(matrix.studies(start, N_TRIALS), matrix.draws(5), strict=True))
        stay = [worth(trials[0], others) for trials, (_, others) in told]
        top = [max(worth(each, others) for each in trials) for trials, (_, others) in told]
        gap = statistics.fmean(top) - statistics.fmean(stay)
        for rule in Choice:
            found = [worth(chosen(trials, images, rule), others) for trials, (images, others) in told]
            sure = [_certainty(trials, matrix, images, rule) for trials, (images, _) in told]
            yield {
                "data": matrix.name,
                "images": len(matrix.refs),
                "start": name,
                "rule": str(rule),
                "start_mean": statistics.fmean(stay),
                "best_mean": statistics.fmean(top),
                "mean": statistics.fmean(found),
                "worst": min(found),
                "worst_below_start": max(0.0, *(mine - yours for mine, yours in zip(stay, found, strict=True))),
                "recovered": (statistics.fmean(found) - statistics.fmean(stay)) / gap if start < 0 else None,
                "expected": statistics.fmean(each.expected for each in sure if each.expected is not None),
                "near": statistics.fmean(each.near for each in sure),
                "keep_default": statistics.fmean(bool(each.keep_default) for each in sure),
            }


def _certainty(trials: Sequence[TrialRow], matrix: Matrix, images: Sequence[str], rule: Choice) -> Certainty:
    subjects = {ref.case_id: ref.subject for ref in matrix.refs}
    return certainty([on(each, images) for each in trials], "dsc", rule, subjects, configured_first=True)


def objectives(matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Objectives by five images: how they rank the trials, and what the rules choose by them; from a bad start, too."""
    for start, name in itertools.product((0, -1), OBJECTIVES):
        told = list(zip(matrix.studies(start, N_TRIALS), matrix.draws(5), strict=True))
        stay = statistics.fmean(worth(trials[0], others) for trials, (_, others) in told)
        ranks = [_rank_correlation(trials, images, others, name) for trials, (images, others) in told]
        for rule in Choice:
            found = [worth(chosen(trials, images, rule, name), others) for trials, (images, others) in told]
            yield {
                "data": matrix.name,
                "start": STARTS[start],
                "objective": name,
                "rule": str(rule),
                "rank_correlation": statistics.fmean(ranks),
                "start_mean": stay,
                "mean": statistics.fmean(found),
                "worst": min(found),
            }


def _rank_correlation(trials: Sequence[TrialRow], images: Sequence[str], others: Sequence[str], name: str) -> float:
    """Spearman's, of an objective on tuning images with DSC on others, over the trials."""
    values = [on(each, images).outcome.mean(name) for each in trials]
    return float(spearmanr(values, [worth(each, others) for each in trials]).statistic)


def curve(matrix: Matrix) -> Iterator[dict[str, Any]]:
    """Numbers of images and of trials: the choice on the images of all other subjects; from a bad start, too."""
    for images, total, start in itertools.product(IMAGES, TRIALS, (0, -1)):
        told = list(zip(matrix.studies(start, total), matrix.draws(images), strict=True))
        for rule in Choice:
            found = [worth(chosen(trials, drawn, rule), others) for trials, (drawn, others) in told]
            yield {
                "data": matrix.name,
                "tuning_images": images,
                "trials": total,
                "start": STARTS[start],
                "rule": str(rule),
                "mean": statistics.fmean(found),
                "worst": min(found),
            }


def picture(table: pd.DataFrame, path: Path) -> None:
    """Mean (line) and worst draw (dotted) against the number of tuning images; a line for each number of trials."""
    mpl.use("agg")
    table = table[table.start == STARTS[0]]
    names = list(dict.fromkeys(table.data))
    figure, axes = plt.subplots(1, len(names), figsize=(4 * len(names), 3.2), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        part = table[table.data == name]
        for (rule, total), each in part.groupby(["rule", "trials"]):
            color = {"robust": "C0", "highest": "C3"}[str(rule)]
            shade = {20: 0.4, 50: 0.7, 100: 1.0}[int(str(total))]
            axis.plot(each.tuning_images, each["mean"], "o-", color=color, alpha=shade, label=f"{rule}, {total} trials")
            axis.plot(each.tuning_images, each.worst, ":", color=color, alpha=shade)
        axis.set(title=name, xlabel="tuning images", xticks=IMAGES)
    axes[0][0].set_ylabel("held-out DSC (dotted: worst draw)")
    axes[0][-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def markdown(table: pd.DataFrame) -> str:
    """A table of a page."""
    cells = table.map(lambda each: "" if pd.isna(each) else f"{each:.3f}" if isinstance(each, float) else str(each))
    lines = [list(cells.columns), ["---"] * len(cells.columns), *cells.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure all matrices."""
    matrices = [read(path) for path in sorted((HERE / "matrices").glob("*.parquet"))]
    wide = [each for each in matrices if each.name.endswith("-wide")]  # studies without labels search all thresholds
    long = [each for each in matrices if each not in wide and len(each.trials) > max(TRIALS)]
    tables = (("choices", choices, matrices), ("objectives", objectives, wide), ("worth", curve, long))
    for name, measure, those in tables:
        table = pd.DataFrame([row for matrix in those for row in measure(matrix)])
        table.round(4).to_csv(HERE / f"{name}.csv", index=False, lineterminator="\n")
        print(f"\n{name}\n\n{markdown(table)}")
        if name == "worth":
            picture(table, PICTURE)


if __name__ == "__main__":
    main()
