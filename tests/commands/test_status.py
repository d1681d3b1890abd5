"""`task=status`: shards, cases, pace, workers."""

from __future__ import annotations

import json
import os

import pytest

from salip_exp import cli
from salip_exp._commands import status
from salip_exp._runs._identity import Identity
from salip_exp._runs.claims import Board, Stand
from salip_exp._runs.folder import State, claim, write_json, write_status
from salip_exp._runs.shards import write_plan
from salip_exp.config import ExecutorConfig, StatusConfig, Task
from salip_exp.errors import DataError


def shown(fakes, folder, capsys) -> str:
    config = fakes.config(task=Task.status, status=StatusConfig(run=str(folder)))
    assert status.command(config, folder, []) == 0
    return capsys.readouterr().out


def test_a_shared_run_is_told_by_its_claims(fakes, tmp_path, capsys):
    write_status(tmp_path, State.running)
    shards = [[f"{shard}/{i}" for i in range(10)] for shard in range(6)]
    plan = write_plan(tmp_path, Identity("run", {}, []), shards)
    board = Board(tmp_path, plan, ExecutorConfig(beat_s=0.05))
    board.take().write(stand=Stand.done, told={"seconds": 20.0})
    with board.take().held() as held:
        held.write(at="1/3", done=3)
        dead = board.take()
        dead.write(at="2/0")
        path = board.path(dead.claim.shard, 1)
        path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": 2**22 + 1}))
        out = shown(fakes, tmp_path, capsys)
    assert "running: 1 worker at work" in out
    assert "shards      3 waiting, 1 running, 1 done, 1 dead, of 6" in out
    assert "cases       13 of 60 done, 0.50 a second, 1 min 34 s left" in out
    assert "1/3" in out and str(os.getpid()) in out


def test_runs_of_several_seeds_are_told_one_by_one_in_their_order(fakes, tmp_path, capsys):
    for seed, state in ((10, State.waiting), (9, State.running)):
        (tmp_path / "seed" / str(seed)).mkdir(parents=True)
        write_status(tmp_path / "seed" / str(seed), state)
    write_json(tmp_path / "crew.json", {"executor": {"name": "processes"}, "ids": ["7", "8"]})
    out = shown(fakes, tmp_path, capsys)
    assert out.index("seed/9") < out.index("seed/10") < out.index("started by executor=processes: 2 workers, 7, 8")


def test_a_worker_elsewhere_without_a_sign_of_life_is_dead(fakes, tmp_path, capsys):
    write_status(tmp_path, State.running)
    plan = write_plan(tmp_path, Identity("run", {}, []), [["a"]])
    board = Board(tmp_path, plan, ExecutorConfig(beat_s=0.1))
    board.take()
    path = board.path(0, 1)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"host": "elsewhere"}))
    out = shown(fakes, tmp_path, capsys)
    assert "1 dead" in out and "killed: none of its workers gives a sign of life" in out and "at work" not in out


def test_logs_and_who_was_started(fakes, tmp_path, capsys):
    write_status(tmp_path, State.waiting)
    write_json(tmp_path / "crew.json", {"executor": {"name": "slurm"}, "ids": ["7_0", "7_1"]})
    (tmp_path / "workers" / "0").mkdir(parents=True)
    (tmp_path / "workers" / "0" / "worker-1.log").write_text("first\nshard 2 of 3: 1 case\n")
    out = shown(fakes, tmp_path, capsys)
    assert "in a queue" in out and "executor=slurm: 2 workers, 7_0, 7_1" in out and "shard 2 of 3: 1 case" in out


def test_an_experiment_that_workers_make_is_told_by_their_logs(fakes, tmp_path, capsys):
    write_json(tmp_path / "crew.json", {"executor": {"name": "slurm"}, "ids": ["7_0", "7_1"]})
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "7_1.out").write_text("phantom_hc18 default: DSC 0.9\n")
    out = shown(fakes, tmp_path, capsys)
    assert "not made yet" in out and "executor=slurm: 2 workers, 7_0, 7_1" in out and "7_1.out: phantom_hc18" in out
    with claim(tmp_path):
        assert shown(fakes, tmp_path, capsys).startswith("running\n")


def test_a_finished_run_is_told_as_it_was_at_its_end(fakes, tmp_path, capsys):
    assert fakes.run_fake(tmp_path / "run") == 0
    ended = capsys.readouterr().out.splitlines()
    out = shown(fakes, tmp_path / "run", capsys).splitlines()
    table = [line for line in ended if line[:1] in "\u250f\u2503\u2521\u2502\u251c\u2514"]
    assert table and [line for line in out if line in table] == table
    (verdict,) = [line for line in ended if line.startswith("DSC ")]
    assert f"finished: {verdict}" in out
    places = [line for line in ended if line[:3] in ("run", "its")]
    assert len(places) >= 3 and set(places) <= set(out)


def test_what_is_no_run_is_refused(fakes, tmp_path):
    with pytest.raises(DataError, match="holds no run"):
        status.command(fakes.config(task=Task.status, status=StatusConfig(run=str(tmp_path))), tmp_path, [])


def test_the_folder_alone_says_which_run():
    assert cli.spelt_out(["task=status", "a b/c"]) == ["task=status", "status.run=a b/c"]
    assert cli.spelt_out(["dataset=xray", "a"]) == ["dataset=xray", "a"]
