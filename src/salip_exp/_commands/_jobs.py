"""The end of `-m`: one table over its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from salip_exp._console import shown, table, wide_console
from salip_exp._runs.folder import read_json
from salip_exp._settings import names
from salip_exp._settings.differences import differing, lines_of
from salip_exp._settings.folders import File
from salip_exp._wording import MISSING, brief, counted, failed, heading, many, mean, tally


def print_differing(found: Mapping[str, Mapping[str, str]]) -> None:
    """Say in which keys and sentences runs differ, before their table; `found` is as `differing` gives it."""
    for line in lines_of(found):
        wide_console().print(Text(f"differs     {line}", style="dim"))


def show_jobs(jobs: Sequence[tuple[Sequence[str], Path, int]]) -> None:
    """Print a row for each, with what the table of a run has of all its cases, how it ended, and where it lies; then
    how many ended well.

    A job is called by its name without what all share; one that has no configuration yet by what it was told beside the
    others.

    Args:
        jobs: of each its overrides, its folder, and its exit code.
    """
    print_differing(differing({str(folder): folder for _, folder, _ in jobs}))
    words = [names.words(folder) for _, folder, _ in jobs]
    shared = names.apart(words)
    common = set.intersection(*({*overrides} for overrides, _, _ in jobs))
    summaries = [read_json(folder / File.summary) or {} for _, folder, _ in jobs]
    heads = ("job", "n", _headed(summaries), "lost by", "failed", "ended", "folder")
    result = table(f"{len(jobs)} jobs", *heads, numbers=("n", "failed"))
    for (overrides, folder, code), found, summary in zip(jobs, words, summaries, strict=True):
        typed = " ".join(one for one in overrides if one not in common) or names.DEFAULT
        told = typed if found is None else names.called([each for each in found if each not in shared])
        said = (read_json(folder / File.status) or {}).get("message", "see above")
        ended = "ok" if code == 0 else f"exit code {code}: {brief(str(said))}"
        result.add_row(*map(Text, (told, *_cells(summary), ended, shown(folder))))
    wide_console().print(result)
    wide_console().print(Text(_verdict([code for _, _, code in jobs]), style="bold"))


def _headed(summaries: Sequence[Mapping[str, Any]]) -> str:
    """What stands above DSC, with the level of the intervals where all have the same."""
    levels = {each["confidence"] for each in summaries if "confidence" in each}
    return heading("DSC", "spread", *levels) if len(levels) == 1 else "DSC mean ± sd [interval]"


def _cells(summary: Mapping[str, Any]) -> list[str]:
    """What a run came to over all of its cases; nothing of a job that came to nothing, or is no run."""
    part = summary.get("overall")
    if not part:
        return ["0", MISSING, "", ""]
    score = mean(part["dsc"], "spread") if part["dsc"]["n"] else MISSING
    return [counted(part), score, tally(part["failures"], unsaid="none"), str(failed(part["statuses"]))]


def _verdict(codes: Sequence[int]) -> str:
    ended = sum(code == 0 for code in codes)
    rest = f"; {len(codes) - ended} did not, the highest exit code is {max(codes)}" if ended < len(codes) else ""
    return f"{ended} of {many(len(codes), 'job')} ended well{rest}"
