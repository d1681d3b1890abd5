"""`report.html`, the page of one run: a file that needs no other and opens from the file system."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from salip_exp import wording
from salip_exp.evaluation.scores import means, shown
from salip_exp.files import atomic_write
from salip_exp.paper import paper_scores
from salip_exp.reports.case_table import case_table, safe_json, write_cases
from salip_exp.reports.difference import difference
from salip_exp.reports.distribution import distribution
from salip_exp.reports.inline import embedded
from salip_exp.runs.folder import RunFolder, read_run
from salip_exp.settings.folders import File


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
    numbers = {entry["case_id"]: entry["number"] for kind in ("strips", "figures") for entry in pictures[kind]}
    named = sum(map(len, run.pictures.values()))
    config = run.folder / File.config
    write_html(
        run.folder / File.report,
        "run.html.j2",
        run=run,
        index=index,
        title=wording.title(run.summary) if run.summary else "/".join(run.folder.absolute().parts[-3:]),
        columns=shown(run.summary, "page") if run.summary else (),
        paper=_paper(run.summary),
        directions=_directions(),
        pictures=pictures,
        unshown=named - sum(map(len, pictures.values())),
        distribution=distribution(run.records, run.summary["groups"]) if run.summary else None,
        seconds=_seconds(run),
        cases=case_table(run.records, numbers),
        failed=sum(record.failed for record in run.records),
        difference=difference(config),
        config=config.read_text(encoding="utf-8", errors="replace") if config.exists() else "",
    )
    write_cases(run)


def write_html(path: Path, template: str, **values: Any) -> None:
    """Write one page.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    atomic_write(path, environment().get_template(template).render(made=now(), **values))


def environment() -> Environment:
    """Jinja with everything escaped and no variable silently empty."""
    environment = Environment(
        loader=PackageLoader("salip_exp.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(wording, name) for name in ("number", "interval", "spread", "mean", "heading", "tally")
    }
    environment.filters |= {"json": safe_json, "pretty": partial(json.dumps, indent=1, ensure_ascii=False)}
    return environment


def now() -> str:
    """The time, to the second."""
    return datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")


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
