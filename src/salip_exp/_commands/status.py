"""`task=status FOLDER`: how a run that workers share stands, and what each of them says."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from salip_exp._console import shown, wide_console
from salip_exp._engines._program import last_line
from salip_exp._settings.folders import File
from salip_exp._wording import many, some
from salip_exp.config import Config, ExecutorConfig
from salip_exp.errors import DataError
from salip_exp.runs.claims import Board, Claim, Stand
from salip_exp.runs.folder import State, read_json, read_run
from salip_exp.runs.shards import Plan, read_plan

_MOST_S = 15.0
"""To wait for a sign of life of workers elsewhere."""
_LINES = 100
"""Workers that are shown one by one."""


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Print it; returns 0.

    Raises:
        DataError: `status.run` is no run.
    """
    place = Path(config.status.run or "").expanduser()
    run = read_run(place)
    if run.label is State.damaged and not (place / File.status).exists():
        raise DataError(f"{place} holds no run: name the folder of one")
    plan = read_plan(place)
    console = wide_console()
    console.print(Text(f"{shown(place)}: {run.label}{f', {run.why}' if run.why else ''}"))
    if plan is not None:
        stood = stands(place, plan)
        for line in told(plan, stood):
            console.print(Text(line))
        if any(stand is not Stand.done for _, stand in stood):
            console.print(_workers(stood))
    for line in _logs(place):
        console.print(Text(line, style="dim"))
    return 0


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
    yield "shards  " + ", ".join(f"{counts[each]} {each}" for each in Stand) + f", of {len(plan.shards)}"
    total = sum(map(len, plan.shards))
    done = sum(claim.cases if stand is Stand.done else claim.done for claim, stand in stood)
    finished = [claim for claim, stand in stood if stand is Stand.done]
    seconds, cases = sum(each.told["seconds"] for each in finished), sum(each.cases for each in finished)
    pace = counts[Stand.running] * cases / seconds if seconds else 0.0
    ahead = f", {pace:.2f} a second, {_time((total - done) / pace)} left" if pace else ""
    yield f"cases   {done} of {total} done{ahead}"


def _time(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 3600} h {whole % 3600 // 60} min" if whole >= 3600 else f"{whole // 60} min {whole % 60} s"


def _workers(stood: Sequence[tuple[Claim, Stand]]) -> Table:
    """Those who hold a shard that is not done."""
    table = Table(title=Text("workers"), title_justify="left")
    for head in ("host", "process", "job", "shard", "cases", "at", "state"):
        table.add_column(head)
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
        table.add_row(*map(Text, row))
    return table


def _logs(place: Path) -> Iterator[str]:
    """The last line of every worker's log, and who else was started."""
    crew = read_json(place / File.crew)
    if crew is not None:
        yield f"started by executor={crew['executor']['name']}: {many(len(crew['ids']), 'worker')}, {some(crew['ids'])}"
    for log in sorted((place / File.workers).rglob("*.[lo][ou][gt]"))[:_LINES]:
        yield f"{log.relative_to(place / File.workers)}: {last_line(log)}"
