"""The end of `-m`: one table over its jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.text import Text

from salip_exp._console import shown, table, wide_console
from salip_exp._runs.folder import read_json, read_run
from salip_exp._settings import names
from salip_exp._settings.differences import differing, lines_of
from salip_exp._settings.folders import File
from salip_exp._settings.sweep import Job
from salip_exp._wording import MISSING, counted, failed, heading, many, mean, tally


def print_differing(found: Mapping[str, Mapping[str, str]]) -> None:
    """Say in which keys and sentences runs differ, before their table; `found` is as `differing` gives it."""
    for line in lines_of(found):
        wide_console().print(Text(f"differs     {line}", style="dim"))


def show_jobs(jobs: Sequence[Job]) -> None:
    """Print a row for each, with what the table of a run has of all its cases, how it ended, and where it lies; then
    how many ended well.

    A job is called by its name without what all share; one that has no configuration yet by what it was told beside the
    others. Of one that ran elsewhere stands what its folder says; what is not seen from here is called so.
    """
    folders = [each.folder for each in jobs]
    print_differing(differing({str(folder): folder for folder in folders if folder}))
    words = [names.words(folder) if folder else None for folder in folders]
    shared = names.apart(words)
    common = set.intersection(*({*each.overrides} for each in jobs))
    summaries = [(read_json(folder / File.summary) if folder else None) or {} for folder in folders]
    heads = ("job", "n", _headed(summaries), "lost by", "failed", "ended", "folder")
    result = table(f"{len(jobs)} jobs", *heads, numbers=("n", "failed"))
    for job, found, summary in zip(jobs, words, summaries, strict=True):
        typed = " ".join(one for one in job.overrides if one not in common) or names.DEFAULT
        told = typed if found is None else names.called([each for each in found if each not in shared])
        result.add_row(*map(Text, (told, *_cells(summary), _end(job), _place(job))))
    wide_console().print(result)
    wide_console().print(Text(_verdict([each.code for each in jobs]), style="bold"))


def _end(job: Job) -> str:
    """How a job ended; of one that did not tell, what its folder says."""
    if job.code is not None:
        return "ok" if job.code == 0 else f"exit code {job.code}: {job.said or 'see above'}"
    if job.folder is None:
        return "not begun, as far as is seen from here"
    if not (job.folder / File.status).exists():
        return "its end is not seen from here"
    found = read_run(job.folder)
    return f"{found.label}: {found.why}" if found.why else found.label


def _place(job: Job) -> str:
    if job.folder is None:
        return MISSING
    return shown(job.folder) if job.folder.is_dir() else f"{job.folder}, not seen from here"


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


def _verdict(codes: Sequence[int | None]) -> str:
    ended, known = sum(code == 0 for code in codes), [code for code in codes if code is not None]
    if ended == len(codes):
        return f"{ended} of {many(len(codes), 'job')} ended well"
    unseen = f", the end of {len(codes) - len(known)} is not seen" if len(known) < len(codes) else ""
    worst = f", the highest exit code is {max(known)}" if any(known) else ""
    return f"{ended} of {many(len(codes), 'job')} ended well; {len(codes) - ended} did not{worst}{unseen}"
