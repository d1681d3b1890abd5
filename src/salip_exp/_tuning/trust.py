"""How far a winner can be trusted: on images it was not chosen on, and over other draws of the tuning images."""

from __future__ import annotations

import logging
import math
import statistics
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from salip_exp._tuning.space import Space
from salip_exp._tuning.study import Study, draw, labelled, order
from salip_exp._tuning.trials import TrialRow, optuna_study, winner
from salip_exp._tuning.worker import OBJECTIVES, Workbench, applied, tried
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef
from salip_exp.errors import CaseError
from salip_exp.evaluation.statistics import Estimate, estimate

log = logging.getLogger(__name__)
DSC = "dsc"


def held_out(study: Study) -> list[CaseRef]:
    """The images that are no tuning images; at most `tuning.held_out` of them, drawn with the seed."""
    config, refs = study.config, study.dataset.refs
    left = [ref for ref in refs if ref.case_id not in study.drawn.ids]
    n = config.tuning.held_out
    if n is None or n >= len(left):
        return left
    return [left[i] for i in sorted(order(left, [config.seed, 0])[:n])]


def comparison(study: Study, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """The default settings, the winner, and what every objective would have chosen: on both sets of images."""
    refs = held_out(study)
    scores: dict[int | None, tuple[dict[str, Any], dict[str, Any]]] = {}

    def judged(row: TrialRow | None) -> dict[str, Any]:
        number = None if row is None else row.number
        if number not in scores:
            config = study.config if row is None else applied(study.config, row.values)
            scores[number] = _both(study, config, refs)
        tuning, rest = scores[number]
        return {"trial": number, "tuning_images": tuning, "held_out": rest}

    default, best = judged(None), judged(winner(trials, study.config))
    chosen = {name: row for name in OBJECTIVES if (row := _best_by(trials, name)) is not None}
    found = {name: judged(row) for name, row in chosen.items()}
    return {
        "default": default,
        "winner": best,
        "objectives": {name: each | {"recovered": _recovered(name, default, found)} for name, each in found.items()},
    }


def draws(study: Study, trials: Sequence[TrialRow]) -> list[dict[str, Any]]:
    """What other draws of the tuning images would have chosen among the same trials, and how good that is elsewhere."""
    config, refs = study.config, study.dataset.refs
    scored = [each for each in trials if each.value is not None]
    judge = _Judge(study.workbench)
    rest = held_out(study)
    rows = []
    for number in range(1, config.tuning.draws + 1):
        cases = draw(refs, config.tuning.images, [config.seed, number], labelled(config)).cases
        value = {each.number: judge.value(tried(config, each.values), cases, each.number) for each in scored}
        best = max(scored, key=lambda each: (_or_least(value[each.number]), -each.number))
        ids = {case.case_id for case in cases}
        final = judge.rest(applied(config, best.values), [ref for ref in rest if ref.case_id not in ids], best.number)
        rows.append(
            {
                "draw": number,
                "images": sorted(ids),
                "trial": best.number,
                "values": best.values,
                "value": _or_none(value[best.number]),
                "held_out": final,
            }
        )
    return rows


def spread(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Mean, standard deviation, least and most of the held-out DSC over draws; None where there is none."""
    means = [each["held_out"]["mean"] for each in rows if each["held_out"]["mean"] is not None]
    if not means:
        return None
    sd = statistics.stdev(means) if len(means) > 1 else None
    return {"n": len(means), "mean": statistics.fmean(means), "sd": sd, "least": min(means), "most": max(means)}


def importances(trials: Sequence[TrialRow], space: Space) -> dict[str, float]:
    """Share of each setting in what the best tenth of the trials have in common; empty where there is none.

    Optuna's PED-ANOVA, which has no random part.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few trials make all shares equal
            found = get_param_importances(optuna_study(trials, space), evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError) as error:  # too few trials, or all of one value
        log.info("no importances: %s", error)
        return {}
    return {name: float(value) for name, value in found.items() if math.isfinite(value)}


class _Judge:
    """Scores of settings on images, each worked out once."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        self.known: dict[tuple[int, bool, str], tuple[float | None, float | None]] = {}

    def value(self, config: Config, cases: Iterable[Case], number: int) -> float:
        """Mean of the study's objective over images."""
        found = [self._score(config, case, number, True)[0] for case in cases]
        scored = [each for each in found if each is not None]
        return math.fsum(scored) / len(scored) if scored else math.nan

    def rest(self, config: Config, refs: Sequence[CaseRef], number: int) -> dict[str, Any]:
        """DSC over images that are loaded one by one; tried settings may differ from those in use, so asked apart."""
        cases = list(_loaded(ref for ref in refs if (number, False, ref.case_id) not in self.known))
        for case in cases:
            self._score(config, case, number, False)
        found = [self.known.get((number, False, ref.case_id), (None, None))[1] for ref in refs]
        return _estimate(found, refs, config).to_dict()

    def _score(self, config: Config, case: Case, number: int, trial: bool) -> tuple[float | None, float | None]:
        key = number, trial, case.case_id
        if key not in self.known:
            names = list(dict.fromkeys((str(config.tuning.objective), DSC))) if trial else [DSC]
            scores = _scores(self.workbench, config, case, names)
            self.known[key] = scores.get(names[0]), scores.get(DSC)
        return self.known[key]


def _both(study: Study, config: Config, refs: Sequence[CaseRef]) -> tuple[dict[str, Any], dict[str, Any]]:
    workbench, drawn = study.workbench, study.drawn
    ours = [_scores(workbench, config, case, [DSC]).get(DSC) for case in drawn.cases]
    chosen = [ref for ref in study.dataset.refs if ref.case_id in drawn.ids]
    rest: dict[str, float | None] = {}
    for case in _loaded(refs):
        rest[case.case_id] = _scores(workbench, config, case, [DSC]).get(DSC)
    theirs = [rest.get(ref.case_id) for ref in refs]
    return _estimate(ours, chosen, config).to_dict(), _estimate(theirs, refs, config).to_dict()


def _scores(workbench: Workbench, config: Config, case: Case, names: Sequence[str]) -> dict[str, float | None]:
    try:
        return workbench.outcome(config, [case], names).images[case.case_id]
    except CaseError as error:
        log.warning("%s has no score: %s %s", case.case_id, error.code, error)
        return {}


def _loaded(refs: Iterable[CaseRef]) -> Iterator[Case]:
    for ref in refs:
        try:
            yield ref.load()
        except CaseError as error:
            log.warning("%s is not read: %s %s", ref.case_id, error.code, error)


def _estimate(scores: Sequence[float | None], refs: Sequence[CaseRef], config: Config) -> Estimate:
    volumes = [f"{ref.group}/{ref.volume}" for ref in refs] if refs and all(ref.volume for ref in refs) else None
    return estimate(scores, volumes, config.score.resamples, config.score.confidence, config.seed)


def _best_by(trials: Sequence[TrialRow], name: str) -> TrialRow | None:
    found = [(each.outcome.mean(name), each) for each in trials]
    scored = [(value, each) for value, each in found if not math.isnan(value)]
    return max(scored, key=lambda pair: (pair[0], -pair[1].number))[1] if scored else None


def _recovered(name: str, default: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Share of what tuning by DSC gains on held-out images; None where that gains nothing."""
    means = [each["held_out"]["mean"] for each in (default, found.get(DSC, default), found[name])]
    if None in means or means[1] <= means[0]:
        return None
    return float((means[2] - means[0]) / (means[1] - means[0]))


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
