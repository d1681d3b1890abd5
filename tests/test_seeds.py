"""Runs with several seeds: each whole in its folder, their spread beside them, continued by the same command."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from salip_exp import _several
from salip_exp._commands.run import command
from salip_exp._runs.folder import find_runs
from salip_exp._settings.compose import compose
from salip_exp._settings.folders import is_part, run_name, way_on
from salip_exp._settings.validate import typed
from salip_exp.config import Config, Task
from salip_exp.errors import ConfigError

TYPED = ["python", "-m", "salip_exp", "seeds=[1,2,3]"]


@pytest.fixture
def discs(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    return module_at(Path(__file__).parent / "runs" / "fakes.py")


@pytest.fixture
def asked(discs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds that a run was asked for; its images follow from the seed, and its first groups too."""
    seeds: list[int] = []

    def execute(config: Config, folder: Path, command: Sequence[str], *_: Any, **__: Any) -> int:
        assert config.resume and not config.seeds
        seeds.append(config.seed)
        cases = [discs.make_case(10 * config.seed + i, f"case_{i}") for i in range(4)]
        few = cases[: 1 if config.seed == 3 else 4]
        return 130 if config.seed == 666 else discs.run_fake(folder, few, resume=True, seed=config.seed)

    monkeypatch.setattr(_several, "execute", execute)
    return seeds


def results(folder: Path, seed: int) -> Mapping[str, Any]:
    summary: Mapping[str, Any] = json.loads((folder / "seed" / str(seed) / "summary.json").read_text("utf-8"))
    return summary


def test_each_seed_is_a_whole_run_and_the_spread_is_that_of_their_means(
    discs: ModuleType, asked: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "fake" / "seeds" / "default"
    assert command(discs.config(seeds=[1, 2, 3]), folder, TYPED) == 0
    assert asked == [1, 2, 3]
    means = [results(folder, seed)["overall"]["dsc"]["mean"] for seed in (1, 2, 3)]
    content = json.loads((folder / "spread.json").read_text("utf-8"))
    over = content["spreads"]["all"]["dsc"]
    assert over == {
        "n": 3,
        "mean": pytest.approx(statistics.fmean(means), abs=1e-15),
        "sd": pytest.approx(statistics.stdev(means), abs=1e-15),
        "least": min(means),
        "most": max(means),
    }
    assert content["spreads"]["group 1"]["dsc"]["n"] == 2, "seed 3 has one case, of the other group"
    assert content["spreads"]["all"]["hc_error"] is None, "a figure that was not computed is missing"
    table = pd.read_csv(folder / "spread.csv")
    assert [*table.loc[table.group == "all", "dsc"]] == pytest.approx(means, abs=0)
    assert len(table) == 8
    printed = capsys.readouterr().out
    assert f"{over['mean']:.3f} ± {over['sd']:.3f} ({over['least']:.3f} – {over['most']:.3f})" in printed
    assert "missing" not in printed
    assert content["differing"]["seed"] == {"1": "1", "2": "2", "3": "3"} and "differs     seed: 1, 2, 3" in printed


def test_its_runs_are_found_by_the_report_and_continued_by_the_same_command(
    discs: ModuleType, asked: list[int], tmp_path: Path
) -> None:
    folder = tmp_path / "fake" / "seeds" / "default"
    assert command(discs.config(seeds=[1, 666, 2]), folder, TYPED) == 130
    assert asked == [1, 666] and not (folder / "spread.json").exists()
    assert way_on(Task.run, folder) == "the same command continues"
    assert command(discs.config(seeds=[1, 2]), folder, TYPED) == 0
    found = find_runs(tmp_path)
    assert sorted(each.folder.name for each in found) == ["1", "2"]
    assert all(is_part(each.folder) and not each.resumable for each in found)


def test_they_have_one_folder_for_good() -> None:
    overrides = ["dataset=hc18", "dataset.sample=20", "seeds=[1,2]"]
    assert run_name("o", "hc18", Task.run, overrides, False) == str(
        Path("hc18", "seeds", "dataset.sample-20+seeds-1-2")
    )
    assert run_name("o", "hc18", Task.run, overrides, True) == run_name("o", "hc18", Task.run, overrides, False)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["seeds=[1,2]"], "nothing in this run is drawn"),
        (["seeds=[1]", "dataset.sample=3"], "two seeds or more"),
        (["seeds=[1,1]", "dataset.sample=3"], "each once"),
        (["seeds=[1,-2]", "dataset.sample=3"], "seeds=-2 is out of range"),
        (["seeds=[1,2]", "task=tune"], "seeds=[1, 2] are for runs, and task=tune takes one: use seed=1"),
        (["seeds=[1,2]", "+experiment=table6"], "task=experiment takes one"),
    ],
)
def test_seeds_that_show_nothing_are_refused(overrides: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        typed(compose(overrides))
    assert said in str(caught.value)


@pytest.mark.parametrize("drawn", ["dataset.sample=3", "tuning=random", "method=unet"])
def test_seeds_of_what_is_drawn_are_taken(drawn: str) -> None:
    assert typed(compose(["seeds=[1,2]", drawn])).seeds == [1, 2]
