"""What a study leaves: `study.json`, `tuned.yaml` and a page."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from salip_exp._files import atomic_write
from salip_exp._paper import notes_on_text
from salip_exp._runs._manifest import write_config
from salip_exp._runs.folder import write_json
from salip_exp._runs.summary import EMBEDDED_NOTE, are_embedded
from salip_exp._settings.folders import File
from salip_exp._settings.tuned import tuned_yaml
from salip_exp._settings.tuning import sampler_of
from salip_exp._tuning.choosing import Certainty, certainty, winner
from salip_exp._tuning.held_out import on_held_out
from salip_exp._tuning.search import Searched
from salip_exp._tuning.study import VERSION, Study
from salip_exp._tuning.trials import TrialRow, importances
from salip_exp._tuning.worker import applied
from salip_exp._wording import many
from salip_exp.cascade.work import Counters
from salip_exp.config import Config, ScoreAt


def write_results(study: Study, folder: Path, trials: Sequence[TrialRow], searched: Searched) -> dict[str, Any]:
    """Write `study.json`, `tuned.yaml` and `config.yaml`; returns what the first holds."""
    config, best = study.config, winner(trials, study.config)
    judged = on_held_out(study, trials)  # first: what it cannot read is in the notes
    report = {
        "version": VERSION,
        "study": study.name,
        "dataset": config.dataset.name,
        "networks": study.loaded.labels,
        "notes": notes(study, trials),
        "sampler": str(sampler_of(config)),
        "seed": config.seed,
        "objective": str(config.tuning.objective),
        "space": study.space.to_dict(),
        "images": list(study.image_ids),
        "trials": {"total": study.total, "failed": sum(each.value is None for each in trials)},
        "best": {"trial": best.number, "value": best.value, "values": best.values},
        "choice": asdict(_certainty(study, trials)),
        **judged,
        "importances": importances(trials, study.space),
        "counters": sum((each.work for each in trials), Counters()).to_dict(),
        "search": {**asdict(searched), "trials_per_second": _rate(searched)},
        "trial_seconds": sum(each.seconds for each in trials),
        "dashboard": _dashboard_command(study.url),
        "tuned": str(folder / File.tuned),
    }
    write_config(folder, config)
    write_json(folder / File.study, report)
    atomic_write(folder / File.tuned, _tuned(study, folder, best, report))
    return report


def notes(study: Study, trials: Sequence[TrialRow]) -> list[str]:
    """What has to be said wherever the figures are shown."""
    lines = [EMBEDDED_NOTE] if are_embedded(study.loaded.names) else []
    lines += notes_on_text(study.config, study.loaded.sentences)
    if study.config.score.at is ScoreAt.native:
        lines.append("a search scores at working size, whatever score.at says")
    if study.config.tuning.score_tuning_images:
        lines.append(f"tuned on {len(study.image_ids)} of the images that runs score (tuning.score_tuning_images)")
    if study.of_0_1_0:
        lines.append(
            "begun by 0.1.0: trial 0 is drawn as the others are, and area thresholds lie below the targets, too"
        )
    if all(ref.subject in study.subjects for ref in study.dataset.refs):
        lines.append("nothing is held out: every subject has a tuning image; tuning.images takes fewer")
    failed = [each for each in trials if each.value is None]
    if failed:
        lines.append(
            f"{len(failed)} of {many(len(trials), 'trial')} failed, the first (trial {failed[0].number}): "
            f"{failed[0].reason}"
        )
    empty = [each for each in trials if set(each.outcome.statuses) == {"no_masks"}]
    if empty:
        lines.append(
            f"{len(empty)} of {many(len(trials), 'setting')} leave no candidate in any tuning image "
            f"(the first: trial {empty[0].number}); they count as 0"
        )
    return [*lines, *(each.said for each in study.left_out)]


def _certainty(study: Study, trials: Sequence[TrialRow]) -> Certainty:
    tuning, subjects = study.config.tuning, {each.case_id: each.subject for each in study.images}
    return certainty(trials, tuning.objective, tuning.choose, subjects, tuning.configured_first)


def _dashboard_command(url: str) -> str:
    """What shows the study in a browser while it runs."""
    return shlex.join(["optuna-dashboard", url])


def _rate(searched: Searched) -> float | None:
    return searched.done / searched.seconds if searched.done and searched.seconds else None


def _tuned(study: Study, folder: Path, best: TrialRow, report: dict[str, Any]) -> str:
    config: Config = applied(study.config, best.values)
    names = [each.name for each in study.space.dimensions]
    lines = [
        f"python -m salip_exp dataset={config.dataset.name} tuned={shlex.quote(str(folder / 'tuned.yaml'))}",
        f"Of {study.total} trials ({report['sampler']}, seed {config.seed}) chosen by {report['objective']}: trial "
        f"{best.number}, {best.value:.4f} on the {len(report['images'])} tuning images.",
        f"Study {study.name}. Runs on the same data set leave the subjects of its tuning images out of every score.",
        *report["notes"],
    ]
    return tuned_yaml(config, names, study.image_ids, study.subjects, lines)
