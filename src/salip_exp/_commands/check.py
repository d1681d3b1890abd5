"""`task=check`: what would stop or spoil a run, named before it starts. Nothing is downloaded and no network is run."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from rich.text import Text

from salip_exp._checks.finding import Finding, Level
from salip_exp._checks.inputs import DATA, TEXT, look, text_findings, weights_findings
from salip_exp._checks.machine import device_findings, disk_findings, executor_findings, folder_findings
from salip_exp._checks.settings import settings_findings, tracker_findings
from salip_exp._console import table, wide_console
from salip_exp._settings.organs import of_organs
from salip_exp._wording import many
from salip_exp.config import Config

VERSION = 1
STYLES = {Level.ok: "green", Level.warn: "yellow", Level.error: "bold red"}


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Look at everything a run with this configuration needs, and print what was found.

    Returns:
        0 where nothing stops the run; else the highest exit code among the errors: 2 configuration, 3 data,
        4 weights, 6 environment.
    """
    found = list(findings(config))
    code = max((each.exit_code for each in found), default=0)
    if config.check.json:
        print(as_json(found, code))
    else:
        _show(found, code, typed)
    return code


def findings(config: Config) -> Iterator[Finding]:
    """All findings, the quick ones first; every case of the data set is decoded. Of several organs, those of each."""
    told: set[Finding] = set()
    for name, alone in of_organs(config).items():
        for each in _findings(alone):
            if each.area in (TEXT, DATA):
                yield replace(each, said=f"{name}: {each.said}")
            elif each not in told:
                told.add(each)
                yield each
    if config.dataset.files.labels is None:
        yield from _findings(config)


def _findings(config: Config) -> Iterator[Finding]:
    yield from settings_findings(config)
    yield from text_findings(config)
    yield from folder_findings(config)
    yield from weights_findings(config)
    yield from device_findings(config)
    yield from executor_findings(config)
    yield from tracker_findings(config)
    data = look(config)
    yield from data.findings
    yield from disk_findings(config, data)


def as_json(found: Sequence[Finding], code: int) -> str:
    """The findings as one JSON object."""
    rows = [{"level": each.level, "area": each.area, "said": each.said, "exit_code": each.exit_code} for each in found]
    return json.dumps({"version": VERSION, "exit_code": code, "findings": rows}, indent=1, ensure_ascii=True)


def _show(found: Sequence[Finding], code: int, typed: Sequence[str]) -> None:
    result = table("before the run", "level", "area", "finding")
    for each in found:
        result.add_row(Text(each.level, style=STYLES[each.level]), each.area, Text(each.said))
    console = wide_console()
    console.print(result)
    console.print(Text(_verdict(found, code), style="bold"))
    if not code:
        console.print(Text(f"next        {shlex.join(each for each in typed if each != 'task=check')}", style="bold"))


def _verdict(found: Sequence[Finding], code: int) -> str:
    errors, warnings = (sum(each.level is level for each in found) for level in (Level.error, Level.warn))
    counted = f"{many(errors, 'error')}, {many(warnings, 'warning')}"
    return f"{counted}: the run can start" if not code else f"{counted}: mend the errors first (exit code {code})"
