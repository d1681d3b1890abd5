"""Claims on shards: one worker each, taken over from the dead and the stopped, and from nobody else."""

from __future__ import annotations

import json
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from salip_exp._runs import claims
from salip_exp._runs._identity import Identity
from salip_exp._runs.claims import Board, Stand
from salip_exp._runs.shards import Plan, drop_plan, write_plan
from salip_exp.config import ExecutorConfig
from salip_exp.errors import EnvironmentFault

CONFIG = ExecutorConfig(beat_s=0.05, dead_after_s=1000.0)
GONE = 2**22 + 1  # no process has such a number


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return write_plan(tmp_path, Identity("run", {}, []), [[f"{shard}/{i}" for i in range(2)] for shard in range(6)])


@pytest.fixture
def board(tmp_path: Path, plan: Plan):
    return lambda **changes: Board(tmp_path, plan, replace(CONFIG, **changes))


def edit(board: Board, shard: int, turn: int = 1, **changes) -> None:
    path = board.path(shard, turn)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def finish(board: Board) -> list[int]:
    """Do all that can be taken."""
    done = []
    while (held := board.take()) is not None:
        held.write(stand=Stand.done)
        done.append(held.claim.shard)
    return done


def test_each_shard_is_taken_by_one(board):
    first, second = board(), board()
    taken = [each.take().claim.shard for each in (first, second) * 3]
    assert sorted(taken) == list(range(6))
    assert first.take() is None and second.take() is None


def test_a_race_for_one_shard_has_one_winner(board):
    boards, start = [board() for _ in range(8)], threading.Barrier(8)
    taken: list[int] = []

    def race(one: Board) -> None:
        start.wait()
        while (held := one.take()) is not None:
            taken.append(held.claim.shard)

    threads = [threading.Thread(target=race, args=(each,)) for each in boards]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(taken) == list(range(6))


def test_of_a_share_only_its_own_are_taken_counted_from_0_or_from_1(tmp_path, plan):
    def shards(i: int) -> list[int]:
        one = Board(tmp_path, plan, CONFIG, (i, 4))
        return [held.claim.shard for held in iter(one.take, None)]

    assert [shards(i) for i in (1, 2, 3, 4)] == [[1, 5], [2], [3], [0, 4]]
    assert shards(0) == []  # 0/4 is 4/4


def test_what_is_let_go_is_free_and_what_is_done_is_not(board):
    first, second = board(), board()
    with first.take().held():
        pass
    with first.take().held() as held:
        held.write(stand=Stand.done)
    for _ in range(4):
        second.take()
    again = second.take()
    assert (again.claim.shard, again.claim.turn, again.claim.lost) == (0, 2, 0)
    assert second.take() is None


def test_the_shard_of_a_process_that_is_gone_is_taken_over_at_once(board):
    first, second = board(), board()
    held = first.take()
    held.write(at="0/1")
    edit(first, 0, pid=GONE)
    taken = [each for each in iter(second.take, None) if each.claim.shard == 0]
    assert [(each.claim.turn, each.claim.lost, each.claim.at) for each in taken] == [(2, 1, "0/1")]
    assert held.taken_over


def test_a_worker_elsewhere_is_dead_when_it_was_watched_in_silence(board, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    first, second = board(), board(dead_after_s=60)
    held = first.take()
    edit(first, 0, host="elsewhere", pid=GONE)
    finish(second)
    for _ in range(3):  # signs of life, however late by its own clock
        now[0] += 50
        edit(first, 0, beat=json.loads(first.path(0, 1).read_text())["beat"] + 1, since=0.0)
        assert second.take() is None
    now[0] += 59
    assert second.take() is None
    now[0] += 2
    assert second.take().claim.shard == 0
    assert held.taken_over


def test_a_claim_that_was_never_written_is_taken_over_in_the_end(board, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: now[0])
    one = board(dead_after_s=60)
    one.path(0, 1).touch()
    assert finish(one) == [1, 2, 3, 4, 5]
    now[0] += 61
    assert one.take().claim.turn == 2


def test_signs_of_life_go_out_while_a_case_takes_long(board):
    with board().take().held() as held:
        before, until = held.claim.beat, time.monotonic() + 60
        while held.claim.beat < before + 3 and time.monotonic() < until:
            time.sleep(0.01)
    assert held.claim.beat >= before + 3


def test_who_works_by_a_plan_that_was_dropped_is_told(tmp_path, board):
    one = board()
    held = one.take()
    drop_plan(tmp_path)
    write_plan(tmp_path, Identity("run", {}, []), [["other"]])
    with pytest.raises((EnvironmentFault, OSError)):
        held.write(at="0/0")
    with pytest.raises(EnvironmentFault, match="begun anew by somebody else"):
        one.take()
    assert not one.place.exists()


def test_a_claim_says_who_and_where(board, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    claim = board().take().claim
    assert (claim.pid, claim.job, claim.cases) == (os.getpid(), "7_3", 2)
    assert claim.host.split()[0] == os.uname().nodename


def test_looking_again_reads_nothing_that_is_done(board, monkeypatch):
    one = board()
    assert len(finish(one)) == 6 and one.finished
    monkeypatch.setattr(claims, "_read_claim", lambda *_: pytest.fail("read again"))
    assert one.finished and one.exhausted
