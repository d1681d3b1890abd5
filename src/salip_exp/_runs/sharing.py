"""The part of one worker in a run that many share, and the whole put together from what all of them told."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from salip_exp._runs._cases import failed_case, run_case
from salip_exp._runs._process import Stop
from salip_exp._runs.claims import Board, Claim, Hold, Stand
from salip_exp._runs.lab import Loaded
from salip_exp._runs.listener import Listener, Run
from salip_exp._runs.records import CaseRecord, StaleRecord, read_record, record_key, record_path, write_record
from salip_exp._runs.shards import read_plan
from salip_exp._timing import Parts
from salip_exp._wording import many
from salip_exp.cache._base import Stage, Tally
from salip_exp.cache.store import Store
from salip_exp.config import ExecutorConfig
from salip_exp.data.case import CaseRef
from salip_exp.data.loading import prefetched
from salip_exp.errors import EnvironmentFault

_DEADLY = 3
"""Workers in a row that a case may cost before it counts as failed."""
_LOOK_S = 0.5


@dataclass
class Begun:
    """A run before its first case, with what its end needs.

    Attributes:
        parts: seconds and peak memory so far.
        built: the networks' work so far, by counter.
        store: the stage cache, with what was asked of it since the beginning.
    """

    run: Run
    loaded: Loaded
    parts: Parts
    built: Mapping[str, int]
    store: Store


def require_nobody(folder: Path, config: ExecutorConfig) -> None:
    """Prove that no worker is at a shard of the run in a folder; one elsewhere is watched for a sign of life first.

    Raises:
        EnvironmentFault: there is one.
    """
    plan = read_plan(folder)
    if plan is None:
        return
    board, until = Board(folder, plan, config), time.monotonic() + 2 * config.beat_s
    before = {each.shard: each.beat for each in _running(board)}
    while before and time.monotonic() < until:
        alive = [each for each in _running(board) if each.beat != before.get(each.shard)]
        if alive:
            raise EnvironmentFault(
                f"{folder} is in use by {many(len(alive), 'worker')}, one of them process {alive[0].pid} on "
                f"{alive[0].host.split()[0]}: task=status status.run={folder} shows them; wait, or end them"
            )
        time.sleep(min(_LOOK_S, config.beat_s))


def _running(board: Board) -> list[Claim]:
    claims = board.latest(range(len(board.plan.shards)))
    return [each for each in claims if board.stand(each) is Stand.running]


def work(begun: Begun, board: Board, stop: Stop) -> None:
    """Take shards until none is left, or a signal came; one that others have is waited for, since they may die.

    Raises:
        EnvironmentFault: records or claims cannot be written.
    """
    refs = {ref.case_id: ref for ref in begun.run.dataset.refs}
    built = dict(begun.built)
    while stop.code is None:
        hold = board.take()
        if hold is None:
            if board.exhausted:
                return
            board.require_plan()
            time.sleep(min(_LOOK_S, board.config.dead_after_s))
            continue
        with hold.held():
            if _shard_done(begun, [refs[each] for each in hold.cases], hold, stop, built):
                built = {}


def _shard_done(begun: Begun, refs: Sequence[CaseRef], hold: Hold, stop: Stop, built: Mapping[str, int]) -> bool:
    """Finish the cases of a shard; False where a signal, or another worker, came between."""
    start = time.monotonic()
    part = replace(begun.run, records=[], reused=0, redone=[])
    before = {stage: replace(tally) for stage, tally in begun.store.stats.items()}
    lost_over = hold.claim.at if hold.claim.lost >= _DEADLY else None
    for ref, load in prefetched(refs):
        if stop.code is not None or hold.taken_over:
            hold.write(at=None, done=len(part.records))
            return False
        lost = hold.claim.lost if ref.case_id == hold.claim.at else 0
        hold.write(at=ref.case_id, lost=lost, done=len(part.records))
        part.records.append(_given_up(part, ref) if ref.case_id == lost_over else run_case(part, ref, load))
    told = told_of(part, built, before, begun.store)
    hold.write(stand=Stand.done, at=None, done=len(refs), told=told | {"seconds": time.monotonic() - start})
    number, total = hold.claim.shard + 1, len(hold.board.plan.shards)
    sys.stderr.write(f"shard {number} of {total}: {many(len(refs), 'case')}, {time.monotonic() - start:.1f} s\n")
    return True


def _given_up(run: Run, ref: CaseRef) -> CaseRecord:
    why = f"{_DEADLY} workers in a row died over it; the log of the last says more"
    record = failed_case(run, ref, "E_WORKER", why)
    write_record(run.folder, record, None)
    return record


def told_of(part: Run, built: Mapping[str, int], before: Mapping[Stage, Tally], store: Store) -> dict[str, Any]:
    """What a finished shard adds to the whole: what was reused and why not, doubts, work, and what the cache gave.

    Args:
        part: the run with the records of this shard alone.
        built: work before the first case that nobody has told yet, by counter.
        before: what the cache had given before the shard.
    """
    return {
        "reused": part.reused,
        "redone": part.redone,
        "doubts": part.doubts.to_dict(),
        "built": dict(built),
        "cache": {str(stage): _difference(tally, before[stage]) for stage, tally in store.stats.items()},
    }


def _difference(now: Tally, before: Tally) -> dict[str, float]:
    return {each.name: getattr(now, each.name) - getattr(before, each.name) for each in fields(Tally)}


def gather(begun: Begun, board: Board, listeners: Sequence[Listener]) -> None:
    """Put the records of all shards into the run, in the order of the data, with all that workers told beside them.

    A record that is not what its shard was to make is made here.

    Raises:
        EnvironmentFault: a record cannot be written.
    """
    run, claims = begun.run, board.latest(range(len(board.plan.shards)))
    begun.built = _summed([each.told["built"] for each in claims])
    for stage in begun.store.stats:
        begun.store.stats[stage] = Tally(**_summed([each.told["cache"][str(stage)] for each in claims]))
    for claim in claims:
        run.reused += claim.told["reused"]
        run.redone += [(str(case_id), str(why)) for case_id, why in claim.told["redone"]]
        run.doubts.add(claim.told["doubts"])
    run.manifest["workers"] = list(_workers(claims))
    for ref in run.dataset.refs:
        run.records.append(_record(run, ref) or _made(run, ref))
        for each in listeners:
            each.case(run)


def _made(run: Run, ref: CaseRef) -> CaseRecord:
    return next(run_case(run, ref, load) for _, load in prefetched([ref]))


def _record(run: Run, ref: CaseRef) -> CaseRecord | None:
    """The record of a case, where it is one of this run."""
    try:
        record = read_record(record_path(run.folder, ref.case_id))
    except StaleRecord:
        return None
    return record if record.failed or record.key == record_key(run.identity, record.fingerprint) else None


def _summed(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = dict.fromkeys(name for each in parts for name in each)
    return {name: sum(each.get(name, 0) for each in parts) for name in names}


def _workers(claims: Sequence[Claim]) -> Iterator[dict[str, Any]]:
    """Each worker with what it did."""
    for name in dict.fromkeys(each.worker for each in claims):
        own = [each for each in claims if each.worker == name]
        facts = {key: value for key, value in asdict(own[0]).items() if key in ("host", "pid", "job")}
        seconds = round(sum(each.told["seconds"] for each in own), 3)
        yield {**facts, "shards": len(own), "cases": sum(each.cases for each in own), "seconds": seconds}
