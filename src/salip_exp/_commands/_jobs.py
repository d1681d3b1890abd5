"""The end of `-m`: one table over its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from salip_exp._console import shown, wide_console
from salip_exp._settings.folders import File
from salip_exp._wording import MISSING, brief, mean
from salip_exp.runs.folder import read_json


def show_jobs(jobs: Sequence[tuple[Sequence[str], Path, int]]) -> None:
    """Print a row for each: what it was told beside the others, its DSC, how it ended, and where it lies.

    Args:
        jobs: of each its overrides, its folder, and its exit code.
    """
    common = set.intersection(*({*overrides} for overrides, _, _ in jobs))
    table = Table(title=Text(f"{len(jobs)} jobs"), title_justify="left")
    for head in ("job", "n", "DSC mean ± sd", "ended", "folder"):
        table.add_column(head, justify="right" if head == "n" else "left")
    for overrides, folder, code in jobs:
        dsc = ((read_json(folder / File.summary) or {}).get("overall") or {}).get("dsc") or {}
        told = " ".join(one for one in overrides if one not in common) or "default"
        said = (read_json(folder / File.status) or {}).get("message", "see above")
        ended = "ok" if code == 0 else f"exit code {code}: {brief(str(said))}"
        score = mean(dsc, "spread") if dsc.get("n") else MISSING
        table.add_row(*map(Text, (told, str(dsc.get("n", 0)), score, ended, shown(folder))))
    wide_console().print(table)
