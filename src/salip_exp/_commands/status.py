"""`task=status FOLDER`: how a run stands, in the form that it ends with, and what each of its workers says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from rich.table import Table
from rich.text import Text

from salip_exp._console import shown, table, wide_console
from salip_exp._engines._program import last_line
from salip_exp._reports.headline import verdict
from salip_exp._reports.run_tables import of_groups
from salip_exp._runs.claims import Board, Claim, Stand
from salip_exp._runs.folder import RunFolder, State, in_use, read_json, read_run, read_study
from salip_exp._runs.shards import Plan, read_plan
from salip_exp._settings import names
from salip_exp._settings.folders import File, way_on
from salip_exp._wording import many, some
from salip_exp.config import Config, ExecutorConfig, Task
from salip_exp.data.paths import natural
from salip_exp.errors import DataError

_MOST_S = 15.0
"""To wait for a sign of life of workers elsewhere."""
_OF_STUDIES = (File.crew, File.study, File.database)
_LINES = 100
"""Workers that are shown one by one."""


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Print it; returns 0.

    Raises:
        DataError: `status.run` is no run.
    """
    place = Path(config.status.run or "").expanduser()
    several = _runs_below(place)
    for each in several:
        _tell(each)
    if several:
        for line in _logs(place):
            wide_console().print(Text(line, style="dim"))
    elif not (place / File.status).exists() and any((place / each).exists() for each in _OF_STUDIES):
        _tell_shared(place)
    else:
        _tell(place)
    return 0


def _runs_below(place: Path) -> list[Path]:
    """The runs of a folder of several seeds or organs."""
    found = [each.parent for part in (File.of_seed, File.of_organ) for each in (place / part).glob(f"*/{File.status}")]
    return sorted(found, key=lambda each: natural(each.name))


def _tell(place: Path) -> None:
    """Print how one run stands."""
    run = read_run(place)
    if run.label is State.damaged and not (place / File.status).exists():
        raise DataError(f"{place} holds no run, study or experiment: name the folder of one")
    plan = read_plan(place)
    console = wide_console()
    stood = [] if plan is None else stands(place, plan)
    if run.summary:
        console.print(of_groups(run.summary))
    if any(stand is not Stand.done for _, stand in stood):
        console.print(_workers(stood))
    console.print(Text(_label(run, {stand for _, stand in stood}), style="bold"))
    for line in _logs(place):
        console.print(Text(f"  {line}", style="dim"))
    console.print(Text(f"run         {names.called(names.words(place), place.name)}, {names.dated(_started(run))}"))
    for line in () if plan is None else told(plan, stood):
        console.print(Text(line))
    console.print(Text(f"run folder  {shown(place)}"))
    if (place / File.report).exists():
        console.print(Text(f"its page    {shown(place / File.report)}"))


def _tell_shared(place: Path) -> None:
    """Print how an experiment or a study stands, and what its workers said last; they leave no claims."""
    label = read_study(place, place.parent).label
    said = "its tables are not made yet" if label is State.interrupted else label
    wide_console().print(Text(said, style="bold"))
    for line in _logs(place):
        wide_console().print(Text(f"  {line}", style="dim"))
    wide_console().print(Text(f"folder      {shown(place)}"))
    if (place / File.study_page).exists():
        wide_console().print(Text(f"its page    {shown(place / File.study_page)}"))


def _label(run: RunFolder, stands: Set[Stand]) -> str:
    """What a run is, and why; its workers were watched for longer than `read_run` looks at them."""
    if run.label is State.running and Stand.dead in stands and Stand.running not in stands and not in_use(run.folder):
        on = way_on(Task.run, run.folder)
        return f"{State.killed}: none of its workers gives a sign of life{f'; {on}' if on else ''}"
    why = verdict(run.summary) if run.summary else run.why
    return f"{run.label}{f': {why}' if why else ''}"


def _started(run: RunFolder) -> str | None:
    return run.manifest.get("started")


def stands(place: Path, plan: Plan) -> list[tuple[Claim, Stand]]:
    """The last claim on every shard that was ever taken, and how it stands; workers elsewhere are watched for a sign of
    life first, for some seconds.
    """
    shards = range(len(plan.shards))
    every = max((each.every for each in Board(place, plan, ExecutorConfig()).latest(shards)), default=0.0)
    board = Board(place, plan, ExecutorConfig(dead_after_s=min(_MOST_S, 1.5 * every)))
    until = time.monotonic() + board.config.dead_after_s
    before = {each.shard: each.beat for each in board.latest(shards) if board.stand(each) is Stand.running}
    while time.monotonic() <= until and any(
        each.beat == before.get(each.shard) for each in board.latest(before) if board.stand(each) is Stand.running
    ):
        time.sleep(min(0.2, board.config.dead_after_s))
    return [(each, board.stand(each)) for each in board.latest(shards)]


def told(plan: Plan, stood: Sequence[tuple[Claim, Stand]]) -> Iterator[str]:
    """Counts of shards and cases, pace, and time left, a line each; pace and time by what shards that are done took."""
    counts = Counter(stand for _, stand in stood)
    counts[Stand.waiting] += len(plan.shards) - len(stood)
    yield "shards      " + ", ".join(f"{counts[each]} {each}" for each in Stand) + f", of {len(plan.shards)}"
    total = sum(map(len, plan.shards))
    done = sum(claim.cases if stand is Stand.done else claim.done for claim, stand in stood)
    finished = [claim for claim, stand in stood if stand is Stand.done]
    seconds, cases = sum(each.told["seconds"] for each in finished), sum(each.cases for each in finished)
    pace = counts[Stand.running] * cases / seconds if seconds else 0.0
    ahead = f", {pace:.2f} a second, {_time((total - done) / pace)} left" if pace else ""
    yield f"cases       {done} of {total} done{ahead}"


def _time(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"


def _workers(stood: Sequence[tuple[Claim, Stand]]) -> Table:
    """Those who hold a shard that is not done."""
    heads = ("host", "process", "job", "shard", "cases", "at", "state")
    result = table("workers", *heads, numbers=("process", "shard"))
    for claim, stand in [each for each in stood if each[1] is not Stand.done][:_LINES]:
        at = f"{claim.done} of {claim.cases}"
        row = (
            claim.host.split(" ")[0],
            str(claim.pid),
            claim.job or "",
            str(claim.shard + 1),
            at,
            claim.at or "",
            stand,
        )
        result.add_row(*map(Text, row))
    return result


def _logs(place: Path) -> Iterator[str]:
    """The last line of every worker's log, and who else was started."""
    crew = read_json(place / File.crew)
    if crew is not None:
        yield f"started by executor={crew['executor']['name']}: {many(len(crew['ids']), 'worker')}, {some(crew['ids'])}"
    for log in sorted((place / File.workers).rglob("*.[lo][ou][gt]"))[:_LINES]:
        yield f"{log.relative_to(place / File.workers)}: {last_line(log)}"
