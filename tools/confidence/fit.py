"""Fit how signals make a confidence, and write it: python -m tools.confidence.fit FILE

FILE is of `tools.confidence.collect`. Weights, thresholds and what is usual come of one half of its subjects, drawn
with a seed; the other half gives the residuals that bounds are made of, of rightly asked images, and the figures that
are printed. Which signals enter was chosen by cross-validation over both halves, so that these figures are a little too
good. What the package ships is of `collect 20261 60`, stopped after 218 draws.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import rankdata

from salip_exp.config import ConfidenceConfig, Doubt
from salip_exp.evaluation._assessment import Fit, nonconformity, spread
from salip_exp.evaluation._confidence import SIGNALS

OUT = Path(__file__).parents[2] / "src/salip_exp/evaluation/fit.json"
GOOD = 0.8  # DSC from which on a mask is good
FLAGGED = 0.1  # share of the good that a threshold flags
RIDGE = 0.003
QUALITY = {
    (True, True): ["stability", "agreement"],
    (True, False): ["agreement", "predicted_iou", "shape"],
    (False, False): ["predicted_iou", "shape"],
}
"""Signals that tell a good mask of a rightly asked image, where boxes prompt SAM, and where it is asked anew.

Of seven sets that were tried for the first, by cross-validation over subjects, none was nearer to DSC.
"""
_Values = NDArray[np.float64]

_FITTED = list(map(str, ConfidenceConfig().signals))
_DECODED = [name for name in _FITTED if SIGNALS[name].decodes]


def _names(prompted: bool, embedded: bool, decoded: bool) -> list[str]:
    """The signals of a fit: agreement means nothing where the candidates are the mask."""
    left_out = [
        *([] if embedded else [each for each in Doubt if each.of_clip]),
        *([] if decoded else _DECODED),
        *([] if prompted else ["agreement"]),
    ]
    return [name for name in SIGNALS if name in _FITTED and name not in left_out]


def _design(table: pd.DataFrame, names: Sequence[str]) -> _Values:
    return np.array([[spread(value) for value in row] for row in table[list(names)].to_numpy(float)])


def weights_of(x: _Values, dsc: _Values) -> tuple[_Values, float]:
    """Weights of at least 0 and intercept of the logistic function that is nearest to DSC, by cross-entropy."""
    scale = x.std(axis=0) + 1e-9
    centre = x.mean(axis=0)
    unit = (x - centre) / scale

    def loss(at: _Values) -> tuple[float, _Values]:
        logit = at[0] + unit @ at[1:]
        expected = 1 / (1 + np.exp(-logit))
        value = np.mean(np.logaddexp(0, logit) - dsc * logit) + RIDGE * (at[1:] ** 2).sum()
        slope = np.concatenate([[np.mean(expected - dsc)], unit.T @ (expected - dsc) / len(dsc) + 2 * RIDGE * at[1:]])
        return float(value), slope

    bounds = [(None, None), *[(0, None)] * x.shape[1]]
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds).x
    weights = found[1:] / scale
    return weights, float(found[0] - weights @ centre)


def auroc(confidence: _Values, good: NDArray[np.bool_]) -> float:
    """Chance that a good case has more confidence than another."""
    ranks = rankdata(confidence)
    n, rest = int(good.sum()), int((~good).sum())
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * rest)) if n and rest else float("nan")


def _fitted(fit: pd.DataFrame, held: pd.DataFrame, prompted: bool, embedded: bool, decoded: bool) -> dict[str, Any]:
    method = "salip" if prompted else "sam_clip"
    fit, held = (each[each.method == method] for each in (fit, held))
    right, asked = fit[fit.done != "wrong"], held[held.done != "wrong"]
    names = _names(prompted, embedded, decoded)
    of_quality = QUALITY[prompted, decoded]
    weights, intercept = weights_of(_design(right, of_quality), right.dsc.to_numpy())
    told = {name: round(float(weight), 4) for name, weight in zip(of_quality, weights, strict=True)}
    slope, start = weights_of(_design(fit, ["contrast"]), np.asarray(fit.done != "wrong", np.float64))
    question = [round(start, 4), round(float(slope[0]), 4)] if embedded else []
    good = fit.dsc.to_numpy() >= GOOD
    usual = {name: [round(float(each), 4) for each in fit[name][good].quantile([0.5, 0.05])] for name in names}
    found = Fit(prompted, embedded, told, round(intercept, 4), question, usual, 0.0, ())
    seen = fit if embedded else right
    threshold = round(float(np.quantile(_expected(found, seen)[seen.dsc.to_numpy() >= GOOD], FLAGGED)), 4)
    _tell(found, held, threshold)
    return asdict(replace(found, threshold=threshold, residuals=_residuals(_expected(found, asked), asked)))


def _expected(fit: Fit, table: pd.DataFrame) -> _Values:
    rows = ({name: float(row[name]) for name in fit.usual} for _, row in table.iterrows())
    return np.array([fit.expected(row) for row in rows])


def _residuals(expected: _Values, held: pd.DataFrame) -> list[float]:
    """The largest of each subject, rounded up, in order."""
    each = pd.Series([nonconformity(c, d) for c, d in zip(expected, held.dsc, strict=True)], held.subject.to_numpy())
    return [float(np.ceil(value * 1000) / 1000) for value in sorted(each.groupby(level=0).max())]


def _tell(fit: Fit, held: pd.DataFrame, threshold: float) -> None:
    good, expected, right = held.dsc.to_numpy() >= GOOD, _expected(fit, held), held.done.to_numpy() != "wrong"
    print(f"prompted {fit.prompted}, embedded {fit.embedded}: n {len(held)}, {int((~good).sum())} below {GOOD}")
    print("  weights", {name: each for name, each in fit.weights.items() if each})
    alone = {name: round(auroc(held[name].to_numpy(), good), 3) for name in fit.usual}
    asked = auroc(expected[right], good[right])
    print(f"  AUROC {auroc(expected, good):.3f}, rightly asked {asked:.3f}; alone {alone}")
    flagged = expected < threshold
    print(
        f"  flagged below {threshold}: {(flagged & ~good).sum()} of {(~good).sum()} bad, {(flagged & good).sum()} good"
    )
    print(f"  mean confidence {expected.mean():.3f}, mean DSC {held.dsc.mean():.3f}")


def halves(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of one half of the subjects, and those of the other."""
    subjects = sorted(table.subject.unique())
    random.Random(1).shuffle(subjects)
    first = table.subject.isin(subjects[: len(subjects) // 2])
    return [table[first], table[~first]]


def main(path: Path) -> None:
    """Fit each set of signals that a case can have, and write the file of the package."""
    tables = halves(pd.read_json(path, lines=True))
    kinds = [(True, True, True), (True, False, True), (True, True, False), (True, False, False)]
    kinds += [(False, True, False), (False, False, False)]
    made = {
        "by": "python -m tools.confidence.fit",
        "of": [f"{len(each)} predictions of {each.subject.nunique()} phantoms under stress" for each in tables],
    }
    fits = [_fitted(tables[0], tables[1], *kind) for kind in kinds]
    OUT.write_text(json.dumps({"made": made, "fits": fits}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
