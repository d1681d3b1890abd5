"""`+experiment=NAME`: run what is missing, then paper and ours side by side.

The same command continues an experiment that was killed; cells that are finished are found by their content. Workers
make cells, each those that nobody is at, and leave the tables to the command that started them.
"""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from salip_exp._commands.run import run_listeners, study_pages
from salip_exp._console import shown, wide_console
from salip_exp._crew import assisted, part_made
from salip_exp._experiments.cell_runs import CellRunner, Unfinished, run_cells
from salip_exp._experiments.cells import Cell, Finished, figures_of, plan, tables_of
from salip_exp._experiments.composing import told
from salip_exp._experiments.counting import COUNTED, totals
from salip_exp._experiments.differing import apart
from salip_exp._experiments.failures import failure_cells, pooled, worth_of
from salip_exp._experiments.outcome import cell_json, environment, labels_of, notes, outcome_json
from salip_exp._experiments.results import Outcomes, Result, result_of
from salip_exp._experiments.verdict import reading
from salip_exp._paper import FAILURES, table
from salip_exp._reports._flagged import write_flagged
from salip_exp._reports.experiment_page import write_experiment
from salip_exp._reports.failures import Lines, failures_json, lines_of, write_failures
from salip_exp._reports.paper_figures import draw_figures
from salip_exp._reports.paper_tables import grid, to_rich, write_table
from salip_exp._runs._identity import Identity, differences, read_identity, write_identity
from salip_exp._runs._process import stoppable
from salip_exp._runs.folder import claim, write_json
from salip_exp._settings.folders import FREE, File, key_of
from salip_exp._wording import many
from salip_exp.config import Config, ExecutorName
from salip_exp.errors import TooManyFailures


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Run the cells of the configured parts and fill the folder.

    Args:
        config: checked, with `experiment.name` and `experiment.parts`.
        folder: of the experiment.
        typed: what to type to get this experiment again.

    Returns:
        0 where every cell is finished, or missing for a reason that is stated; 5 where one failed; 130 or 143 where a
        signal ended it after the case at hand.

    Raises:
        ConfigError: the command sets what cells differ in.
        EnvironmentFault: the folder is in use, cannot be written, or was deleted, moved or replaced meanwhile.
    """
    start = time.monotonic()
    runner = CellRunner(config, told(typed), run_listeners, study_pages)
    cells = _cells(config, typed)
    if config.shard is not None:
        with stoppable() as stop:
            return run_cells(runner, cells, stop, folder)[1] or part_made("cell")
    if config.executor.name is not ExecutorName.serial:
        code = assisted(config, folder, typed)
        if code or config.executor.detach:
            return code
    with claim(folder), stoppable() as stop:
        _settle(folder, _identity(config, typed, cells))
        outcomes, code = run_cells(runner, cells, stop, folder)
        finished = {key: each for key, each in outcomes.items() if isinstance(each, Finished)}
        said = notes(finished.values(), config)
        results = [result_of(table(name), outcomes, config) for name in tables_of(config.experiment.parts)]
        tables = [(result, reading(result, config)) for result in results]
        for result, sentence in tables:
            write_table(folder, result, config, [*said, *([sentence] if sentence else [])])
        more: dict[str, Any] = {
            "figures": [] if code else draw_figures(figures_of(config.experiment.parts), finished, folder),
            "counters": totals(finished.values()),
            "environment": environment(finished.values()),
            "seconds": round(time.monotonic() - start, 1),
        }
        lines = _write_failures(outcomes, config, folder, typed, said, more)
        write_json(folder / File.study, outcome_json(config, shlex.join(typed), said, tables, more))
        write_experiment(folder, Path(config.outputs).absolute())
    _present(folder, tables, lines, said, more)
    return code or _verdict(outcomes, results)


def _cells(config: Config, typed: Sequence[str]) -> list[Cell]:
    """Every cell of the configured parts."""
    chosen = config.experiment
    more = failure_cells(chosen.failures, told(typed)) if FAILURES in chosen.parts else []
    return [*plan(chosen.parts), *more]


def _write_failures(
    outcomes: Outcomes, config: Config, folder: Path, typed: Sequence[str], said: list[str], more: dict[str, Any]
) -> list[Lines]:
    """Write tables and figures of the pool of failures, and add to notes and to what `study.json` holds; its tables."""
    chosen = config.experiment
    if FAILURES not in chosen.parts:
        return []
    cells = [outcomes.get((each.dataset, each.column)) for each in failure_cells(chosen.failures, told(typed))]
    done = [each for each in cells if isinstance(each, Finished)]
    pool = pooled(done, chosen.failures.runs)
    runs = f" and {many(len(chosen.failures.runs), 'run')} of before" if chosen.failures.runs else ""
    labels = [note for each in chosen.failures.runs for note in labels_of(Path(each).expanduser())]
    said += [each for each in dict.fromkeys(labels) if each not in said]
    said.append(f"the pool is of {len(done)} of {many(len(cells), 'cell')}{runs}")
    worth = worth_of(pool, config)
    more["figures"] += [*write_failures(folder, pool, worth, config, said), *write_flagged(folder, done)]
    more["failures"] = failures_json(worth, config) | {"cells": [cell_json(each, config) for each in cells if each]}
    return lines_of(worth, config)


def _settle(folder: Path, identity: Identity) -> None:
    """Say what the folder is of; what an experiment with other settings left, which lies in its cells, too, goes."""
    before = read_identity(folder)
    changes = [] if before is None else differences(before, identity)
    if changes:
        sys.stderr.write(f"other than this experiment was: {'; '.join(changes)}; its tables are made anew\n")
        for name in (File.study, File.study_page):
            (folder / name).unlink(missing_ok=True)
    write_identity(folder, identity)


def _identity(config: Config, typed: Sequence[str], cells: Sequence[Cell]) -> Identity:
    """What the folder of an experiment is of; where images lie and how many pictures are drawn is no part of it."""
    overrides = sorted({each for each in told(typed) if key_of(each) not in {*FREE, "figures"}})
    of = {"experiment": config.experiment.name, "data": str(config.data), "overrides": overrides}
    return Identity("experiment", of, [cell.name for cell in cells])


def _verdict(outcomes: Outcomes, results: Sequence[Result]) -> int:
    """5 where a cell failed, or a table refused one; each is named."""
    failed = {
        f"{each.cell.column} on {each.cell.dataset}: {each.why}"
        for each in outcomes.values()
        if isinstance(each, Unfinished) and each.state == "failed"
    }
    entries = [(row, key, entry) for result in results for row, found in result.rows for key, entry in found.items()]
    failed |= {f"{key} on {row.dataset}: {entry.why}" for row, key, entry in entries if entry.state == "failed"}
    for each in sorted(failed):
        sys.stderr.write(f"failed: {each}\n")
    return TooManyFailures.exit_code if failed else 0


def _present(
    folder: Path,
    tables: Sequence[tuple[Result, str]],
    lines: Sequence[Lines],
    said: Sequence[str],
    more: dict[str, Any],
) -> None:
    """The tables on the terminal, what they say, and what they took."""
    console = wide_console()
    for each in lines:
        console.print(each.to_rich())
        for note in each.notes:
            console.print(Text(f"  {note}", style="dim"))
    for result, sentence in tables:
        for line in apart(result.differing):
            console.print(Text(f"  {line}", style="dim"))
        console.print(to_rich(result))
        for note in grid(result).notes:
            console.print(Text(f"  {note}", style="dim"))
        if sentence:
            console.print(Text(f"  {sentence}"))
        console.print()
    for note in said:
        console.print(Text(f"  {note}", style="dim"))
    counters = more["counters"]
    for name in COUNTED:
        computed, naive = counters["computed"][name], counters["naive"][name]
        times = f", {naive / computed:.1f} times fewer" if computed else ""
        console.print(Text(f"{name:<16}{computed:,} of {naive:,}{times}"))
    console.print(Text(counters["rule"], style="dim"))
    console.print(Text(f"{counters['cells']} cells, {more['seconds']:.0f} s"))
    console.print(Text(f"folder          {shown(folder)}"))
