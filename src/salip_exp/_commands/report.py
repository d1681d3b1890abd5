"""`task=report`: a page over all runs and studies, and a page for each; once, or again and again while they go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from salip_exp._console import shown, wide_console
from salip_exp._reports.index_page import Row
from salip_exp._reports.upkeep import Pages
from salip_exp._runs.folder import State, find_studies, run_folders
from salip_exp._settings.folders import File
from salip_exp._wording import many
from salip_exp.config import Config
from salip_exp.errors import DataError, TooManyFailures


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Write `index.html` and `compare.html` below `outputs`, and the page of every run and experiment there, as far as
    what they show has changed.

    With `report.watch` the pages are served and written again as runs go on, until Ctrl-C.

    Returns:
        0.

    Raises:
        DataError: there is no run to report on.
        TooManyFailures: with `report.strict`, a run or a case that cannot be read; the pages are written nevertheless.
        EnvironmentFault: a page cannot be written, the port is in use, or the extra for `report.watch` is missing.
    """
    outputs = Path(config.outputs)
    if config.report.watch:
        from salip_exp._reports.serve import watch  # an extra of the installation

        return watch(config)
    if not run_folders(outputs) and not find_studies(outputs):
        raise DataError(f"no run lies below {outputs}: make one (python -m salip_exp), or name another outputs=DIR")
    pages = Pages(outputs)
    pages.refresh()
    labels, n = [row.label for row in pages.rows.values()], len(pages.studies)
    counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
    found = [f"{many(len(labels), 'run')} ({counts})"] * bool(labels) + [many(n, "[study|studies]")] * bool(n)
    wide_console().print(Text(f"{', '.join(found)}: {shown(outputs / File.all_runs)}"))
    if config.report.strict:
        _refuse_damage(pages.rows)
    return 0


def _refuse_damage(rows: Mapping[Path, Row]) -> None:
    damaged = [(folder, row) for folder, row in rows.items() if row.unreadable or row.label == State.damaged]
    if damaged:
        folder, first = damaged[0]
        unreadable = f"{many(first.unreadable, 'case file')} cannot be read"
        raise TooManyFailures(
            f"{len(damaged)} of {many(len(rows), 'run')} cannot be read whole, the first being {folder} "
            f"({first.why or unreadable}): run them again, or remove them; "
            "all pages are written"
        )
