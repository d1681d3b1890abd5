"""How far a winner can be trusted: on images it was not chosen on, and over other draws of the tuning images."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from salip_exp._runs.records import fingerprint
from salip_exp._tuning.choosing import choose, winner
from salip_exp._tuning.objectives import OBJECTIVES
from salip_exp._tuning.study import Study, draw, labelled, order
from salip_exp._tuning.trials import TrialRow
from salip_exp._tuning.worker import Outcome, applied, tried
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef
from salip_exp.errors import CaseError, DataError
from salip_exp.evaluation.statistics import estimate, spread

log = logging.getLogger(__name__)
DSC = "dsc"


def on_held_out(study: Study, trials: Sequence[TrialRow]) -> dict[str, Any]:
    """DSC on tuning images and on images held out, as it stands in `study.json`.

    Returns:
        `default`, `winner`, `objectives`: of the default settings, of the winner, and of what every objective would
        have chosen; `draws`, `spread`: of what other draws of the tuning images would have chosen.
    """
    scores, held_out = _Scores(study), _held_out(study)
    other = [_drawn(scores, trials, held_out, number) for number in range(1, study.config.tuning.draws + 1)]
    over = spread([each["held_out"]["mean"] for each in other])
    return {**_comparison(scores, trials, held_out), "draws": other, "spread": None if over is None else asdict(over)}


def _held_out(study: Study) -> list[CaseRef]:
    """The images of other subjects than those of the tuning images; at most `tuning.held_out`, drawn with the seed."""
    config = study.config
    left = [ref for ref in study.dataset.refs if ref.subject not in study.subjects]
    n = config.tuning.held_out
    if n is None or n >= len(left):
        return left
    return [left[i] for i in sorted(order(left, [config.seed, 0])[:n])]


class _Scores:
    """Scores of settings on images, each worked out once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self._cases = {case.case_id: case for case in study.images}
        self._prints: dict[str, str] = {}
        self._known: dict[tuple[str, int | None, str], float | None] = {}

    def dsc(self, trial: TrialRow | None, refs: Sequence[CaseRef]) -> dict[str, Any]:
        """DSC of a trial's setting, or of the default one, over images that are loaded one by one."""
        config, number = self.study.config, None
        if trial is not None:
            config, number = applied(config, trial.values), trial.number
        found = [self._score(("applied", number), config, DSC, ref) for ref in refs]
        subjects = [f"{ref.group}/{ref.subject}" for ref in refs]
        return estimate(found, subjects, config.score.resamples, config.score.confidence, config.seed).to_dict()

    def on(self, trial: TrialRow, cases: Sequence[Case]) -> TrialRow:
        """The trial as it would be with other tuning images: with their scores of the study's objective."""
        config = tried(self.study.config, trial.values)
        name = str(config.tuning.objective)
        found = {case.case_id: {name: self._score(("tried", trial.number), config, name, case)} for case in cases}
        return replace(trial, outcome=Outcome(found))

    def _score(self, setting: tuple[str, int | None], config: Config, name: str, image: Case | CaseRef) -> float | None:
        key = *setting, image.case_id
        if key not in self._known:
            self._known[key] = self._measured(config, name, image)
        return self._known[key]

    def _measured(self, config: Config, name: str, image: Case | CaseRef) -> float | None:
        try:
            case = image if isinstance(image, Case) else self._cases.get(image.case_id) or self._read(image)
            return self.study.workbench.outcome(config, [case], [name]).images[case.case_id][name]
        except CaseError as error:
            log.warning("%s has no score: %s %s", image.case_id, error.code, error)
            self.study.faults[image.case_id] = f"{error.code}: {error}"
            return None

    def _read(self, ref: CaseRef) -> Case:
        """The case, proven to be what it was when another setting was scored on it; raises CaseError, DataError."""
        case = ref.load()
        found = fingerprint(case)
        if self._prints.setdefault(ref.case_id, found) != found:
            raise DataError(
                f"{ref.case_id} was changed while settings were scored on it: the same command does so anew"
            )
        return case


def _comparison(scores: _Scores, trials: Sequence[TrialRow], held_out: Sequence[CaseRef]) -> dict[str, Any]:
    """The default settings, the winner, and what every objective would have chosen: on both sets of images."""
    study = scores.study
    tuned_on = [ref for ref in study.dataset.refs if ref.case_id in study.image_ids]

    def both(trial: TrialRow | None) -> dict[str, Any]:
        number = None if trial is None else trial.number
        return {"trial": number, "tuning_images": scores.dsc(trial, tuned_on), "held_out": scores.dsc(trial, held_out)}

    default = both(None)
    found = {name: both(trial) for name in OBJECTIVES if (trial := _chosen_by(name, trials, study.config)) is not None}
    return {
        "default": default,
        "winner": both(winner(trials, study.config)),
        "objectives": {name: each | {"recovered": _recovered(name, default, found)} for name, each in found.items()},
    }


def _chosen_by(objective: str, trials: Sequence[TrialRow], config: Config) -> TrialRow | None:
    return choose(trials, objective, config.tuning.choose, config.tuning.configured_first)


def _recovered(name: str, default: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Share of what tuning by DSC gains on held-out images; None where that gains nothing."""
    means = [each["held_out"]["mean"] for each in (default, found.get(DSC, default), found[name])]
    if None in means or means[1] <= means[0]:
        return None
    return float((means[2] - means[0]) / (means[1] - means[0]))


def _drawn(scores: _Scores, trials: Sequence[TrialRow], held_out: Sequence[CaseRef], number: int) -> dict[str, Any]:
    """What another draw of the tuning images would have chosen among the trials, and how good that is elsewhere."""
    study, config = scores.study, scores.study.config
    cases = draw(study.dataset.refs, config.tuning.images, [config.seed, number], labelled(config))
    scored = [scores.on(each, cases) for each in trials if each.value is not None]
    best = _chosen_by(config.tuning.objective, scored, config) or scored[0]
    value = best.outcome.mean(config.tuning.objective)
    subjects = {case.subject for case in cases}
    return {
        "draw": number,
        "images": sorted(case.case_id for case in cases),
        "trial": best.number,
        "values": best.values,
        "value": None if math.isnan(value) else value,
        "held_out": scores.dsc(best, [ref for ref in held_out if ref.subject not in subjects]),
    }
