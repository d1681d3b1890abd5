"""The page of one run, `report.html`, a file that needs no other and opens from the file system; and `cases.js`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from salip_exp import _wording as wording
from salip_exp._files import YAML, read_file
from salip_exp._paper import paper_scores
from salip_exp._reports import _risk as risk
from salip_exp._reports.cases import case_table, write_cases
from salip_exp._reports.charts import distribution
from salip_exp._reports.gallery import caption, gallery, limits, viewer
from salip_exp._reports.headline import headline, verdict
from salip_exp._reports.page import embedded, is_extra, write_html
from salip_exp._reports.run_tables import BELIEFS, shown_with, volume_rows
from salip_exp._runs._volumes import read_volumes
from salip_exp._runs.folder import RunFolder, read_run
from salip_exp._settings import names
from salip_exp._settings.differences import difference
from salip_exp._settings.folders import File
from salip_exp.data._left_out import told_of
from salip_exp.evaluation.flags import REASONS
from salip_exp.evaluation.risk import TITLES
from salip_exp.evaluation.scores import means, shown


def _distribution(run: RunFolder) -> Markup | None:
    """DSC by group; None where nothing is scored."""
    groups = run.summary.get("groups", {})
    scores: dict[str, list[float]] = {name: [] for name in groups}
    for each in run.records:
        if each.dsc is not None and each.group in scores:
            scores[each.group].append(each.dsc)
    known = {name: (each, groups[name]["dsc"]) for name, each in scores.items() if each}
    return distribution(known) if known else None


def write_page(folder: Path) -> None:
    """Write the page of a run folder, whatever state the run is in, and `cases.js` beside it.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    write_run_page(read_run(folder))


def write_run_page(run: RunFolder, index: str | None = None) -> None:
    """Write `report.html` and `cases.js` of a run that has been read.

    Args:
        run: as read.
        index: the relative address of the page over all runs, where there is one.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    pictures = embedded(run.folder, run.pictures)
    doubt = run.summary.get("doubt") if run.summary else None
    strips = [each for each in pictures["strips"] if not is_extra(each)]
    shown_first = {each["case_id"]: i for i, each in enumerate(strips)}
    cards = gallery(run, pictures, shown_first, doubt)
    caption(strips, run.records, doubt)
    numbers = {each["case"]: number for number, each in enumerate(cards)}
    unread = sum(map(len, run.pictures.values())) - sum(map(len, pictures.values()))
    config = run.folder / File.config
    begun = names.dated(run.manifest.get("started"))
    scored = not run.summary or run.summary["overall"]["dsc"]["n"] > 0
    write_html(
        run.folder / File.report,
        "run.html.j2",
        run=run,
        index=index,
        title=names.called(names.words(run.folder), "/".join(run.folder.absolute().parts[-3:])),
        about=" · ".join(filter(None, (wording.title(run.summary) if run.summary else "", begun))),
        left_out=_left_out(run.manifest or {}),
        directions=_directions(),
        strips=strips,
        cards=cards,
        unread=unread,
        limits=limits(run.pictures["figures"]),
        predicted=sum(not record.failed for record in run.records),
        scored=scored,
        distribution=_distribution(run),
        seconds=_seconds(run),
        doubt=BELIEFS.get(doubt or ""),
        files=[(name, said) for name, said in _FILES if _is_there(run.folder / name)] if run.summary else (),
        reasons=REASONS,
        volumes=volume_rows(read_volumes(run.folder)),
        cases=case_table(run.records, numbers, scored, doubt),
        failed=sum(record.failed for record in run.records),
        viewer=viewer(run),
        difference=difference(config),
        config=_text(config),
        **_summed_up(run, doubt),
    )
    write_cases(run)


def _summed_up(run: RunFolder, doubt: str | None) -> dict[str, Any]:
    """What the page has of the summary, which a run that goes on has not yet."""
    return {
        "headline": headline(run.summary) if run.summary else (),
        "verdict": verdict(run.summary) if run.summary else "",
        "columns": shown(run.summary, "page") if run.summary else (),
        "paper": _paper(run.summary),
        "risk_heads": list(TITLES.values()),
        "risk_rows": risk.rows(run.summary),
        "risk_curve": risk.curve(run.records, run.summary),
        "risk_of": BELIEFS.get(risk.first_measure(run.summary) or ""),
        "confidence": [(each, BELIEFS[each]) for each in shown_with(doubt) if each in run.summary.get("overall", {})],
        "flagged": run.summary["overall"].get("flagged") if run.summary else None,
    }


def _is_there(path: Path) -> bool:
    """Whether there is a file, or a folder with something in it."""
    return any(path.iterdir()) if path.is_dir() else path.exists()


_FILES = (
    (File.masks, "masks at the size of the images"),
    (File.case_table, "a row for each case"),
    (File.volume_table, "a row for each volume"),
    (File.candidate_table, "a row for each candidate"),
    (File.summary, "what they come to"),
)
"""What a user takes along from a run, and what it is."""


def _left_out(manifest: Mapping[str, Any]) -> list[str]:
    """What a run did not look at, and what it could not write, a sentence each; runs before 0.2.0 tell neither."""
    return [*told_of(manifest.get("data", {}).get("left_out", ())), *manifest.get("masks_absent", ())]


def _text(config: Path) -> str:
    """What a `config.yaml` says; nothing where it cannot be read."""
    try:
        return read_file(config, YAML).decode("utf-8", "replace")
    except (OSError, ValueError):
        return ""


def _paper(summary: Mapping[str, Any]) -> dict[str, dict[str | None, float]]:
    """What the paper gives for the run's method, by mean and group (None: all); empty where it gives nothing."""
    groups: list[str | None] = [*summary.get("groups", ()), None]
    found = {name: paper_scores(summary["dataset"], name, summary["method"]) for name in groups if summary}
    given = {name: each for name, each in found.items() if each is not None}
    return {mean: {name: each[i] for name, each in given.items()} for i, mean in enumerate(("dsc", "iou")) if given}


def _directions() -> dict[str, str]:
    """Which end is the better one, by mean, where one is."""
    words = {True: "; higher is better", False: "; lower is better"}
    return {mean.name: words[score.higher_is_better] for score, mean in means() if score.higher_is_better is not None}


def _seconds(run: RunFolder) -> dict[str, float]:
    """Seconds that cases took, by stage."""
    total: Counter[str] = Counter()
    for record in run.records:
        total.update(record.seconds)
    return {stage: seconds for stage, seconds in total.items() if stage != "total"}
