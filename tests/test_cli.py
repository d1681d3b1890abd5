"""The command line from the outside: run folders, exit codes, one line per error, nothing heavy before it is needed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import hydra
import pytest
from omegaconf import OmegaConf

import salip_exp
from salip_exp import cli
from salip_exp._settings.folders import label, unfinished
from salip_exp.config import Config
from salip_exp.errors import DataError, EnvironmentFault, TooManyFailures, WeightsError

Runner = Callable[[Config, Path, Sequence[str]], int]
Calls = list[tuple[Config, Path, list[str]]]


class Line:
    """Types commands in an empty folder, with a runner in place of the real one."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.patch, self.capture = patch, capture
        self.calls: Calls = []
        self.then: Runner = lambda config, folder, command: 0

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Exit code and what stands on stderr."""
        self.patch.setattr(sys, "argv", ["salip-exp", *arguments])
        self.patch.setattr(signal, "signal", lambda *_: None)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert isinstance(ended.value.code, int)
        return ended.value.code, self.capture.readouterr().err

    def run(self, config: Config, folder: Path, command: Sequence[str]) -> int:
        self.calls.append((config, folder, list(command)))
        return self.then(config, folder, command)


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Line:
    typed_line = Line(monkeypatch, capsys)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored afterwards: main() sets it
    module = types.ModuleType("salip_exp._commands.run")
    module.__dict__["command"] = typed_line.run
    monkeypatch.setitem(sys.modules, "salip_exp._commands.run", module)
    return typed_line


def test_a_command_is_kept_as_it_was_typed(line: Line) -> None:
    typed = ["dataset=folder", "dataset.files.images=scans/{id}_img.png", "dataset.root=my data (1)", "vdt=brain"]
    assert line(*typed)[0] == 0
    assert line.calls[0][2] == ["salip-exp", *typed]


@pytest.mark.parametrize(
    "typed",
    [
        ["+ablation=no_filter", "--cfg", "job", "seed=3"],
        ["--package=_global_", "+ablation=no_filter", "-c", "job", "seed=3"],
        ["-c", "job", "+ablation=no_filter", "-p", "_global_", "seed=3"],
    ],
)
def test_overrides_may_stand_before_and_after_flags(line: Line, typed: list[str]) -> None:
    """argparse takes the first block alone, and of the others complains by its usage."""
    shown: list[str] = []
    line.patch.setattr(cli, "command", lambda: shown.extend(sys.argv[1:]) or 0)
    assert line(*typed) == (0, "")
    assert shown[:2] == ["+ablation=no_filter", "seed=3"] and sorted(shown) == sorted(typed)


def test_parts_of_one_run_are_no_jobs_of_m_each_in_a_folder_of_its_own(line: Line) -> None:
    code, said = line("-m", "shard=1/2,2/2", "hydra.sweep.dir=jobs")
    assert code == 2 and "shard=1/2,2/2" in said and "hydra.run.dir=FOLDER" in said and not line.calls
    assert line("-m", "shard=1/2,2/2", "hydra.sweep.dir=jobs", "hydra.sweep.subdir=one")[0] == 0
    assert {folder.name for _, folder, _ in line.calls} == {"one"} and len(line.calls) == 2


def test_the_version_is_the_program_s_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: Line
) -> None:
    monkeypatch.setattr(line, "capture", SimpleNamespace(readouterr=lambda: SimpleNamespace(err="")))
    assert line("--version", "seed=3")[0] == 0
    assert capsys.readouterr().out == f"salip_exp {salip_exp.__version__}, Hydra {hydra.__version__}\n"


def test_what_a_flag_is_given_is_no_folder_to_look_at(line: Line) -> None:
    shown: list[str] = []
    line.patch.setattr(cli, "command", lambda: shown.extend(sys.argv[1:]) or 0)
    line("task=status", "--cfg", "job", "FOLDER")
    assert shown == ["task=status", "status.run=FOLDER", "--cfg", "job"]


def fails(error: BaseException) -> Runner:
    def runner(config: Config, folder: Path, command: Sequence[str]) -> int:
        raise error

    return runner


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "salip_exp", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_run_gets_its_folder_its_configuration_and_its_command(line: Line, tmp_path: Path) -> None:
    assert line("dataset=phantom_hc18", "sam=vit_b", "+ablation=no_filter") == (0, "")
    (config, folder, command) = line.calls[0]
    assert (config.dataset.name, config.sam.name, config.area.enabled) == ("phantom_hc18", "vit_b", False)
    assert folder.parent == tmp_path / "outputs" / "phantom_hc18" / "no_filter+sam-vit_b"
    assert folder.is_dir()
    assert command == ["salip-exp", "dataset=phantom_hc18", "sam=vit_b", "+ablation=no_filter"]


@pytest.mark.fault("X5")
def test_a_run_without_overrides_is_called_default_and_two_never_share_a_folder(line: Line, tmp_path: Path) -> None:
    line()
    line()
    first, second = line.calls[0][1], line.calls[1][1]
    assert first != second
    assert first.parent == second.parent == tmp_path / "outputs" / "phantom_cc359" / "default"


def test_figures_are_typed_without_quotes(line: Line) -> None:
    assert line("figures=worst:5,best:5,random:5") == (0, "")
    assert line("figures='worst:1,best:2'") == (0, "")
    assert [call[0].figures for call in line.calls] == ["worst:5,best:5,random:5", "worst:1,best:2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sam=vit_x"], "sam=vit_x does not exist: the nearest is sam=vit_"),
        (["+typo=1"], "typo is not a key of the configuration: the nearest is"),
        (["sam.points_per_side=0"], "sam.points_per_side=0 is out of range: allowed is 1 to 256"),
        (["-m", "hydra/launcher=rq"], "not installed: pip install hydra-rq-launcher"),
        (["--cfg", "job", "sam=vit_x"], "sam=vit_x does not exist"),
        (["resume=true"], "there is no unfinished run of phantom_cc359"),
        (["resume=true", "hydra.run.dir=nowhere"], "nowhere holds no unfinished run"),
    ],
)
@pytest.mark.fault("C1", "C2", "R8", "R9")
def test_a_wrong_configuration_is_one_line_and_leaves_nothing_behind(
    line: Line, tmp_path: Path, arguments: list[str], said: str
) -> None:
    code, err = line(*arguments)
    assert code == 2
    assert err.startswith("error: ")
    assert said in err
    assert err.count("\n") == 1
    assert "HYDRA_FULL_ERROR" not in err
    assert not line.calls
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DataError("no images below x: give dataset.root=DIR"), 3),
        (WeightsError("no file y: put it there"), 4),
        (TooManyFailures("3 of 4 cases failed"), 5),
        (EnvironmentFault("the disk is full"), 6),
        (OSError(28, "No space left on device"), 6),
    ],
)
@pytest.mark.fault("R8", "R9")
def test_an_error_of_a_run_is_one_line_with_its_exit_code_and_the_traceback_is_in_the_log(
    line: Line, error: Exception, code: int
) -> None:
    line.then = fails(error)
    got, err = line()
    assert got == code
    assert str(error) in err
    assert err.count("\n") == 1
    assert "Traceback" in (line.calls[0][1] / "run.log").read_text()


@pytest.mark.fault("R9")
def test_a_fault_of_the_program_says_where_its_traceback_is(line: Line) -> None:
    line.then = fails(ZeroDivisionError("division by zero"))
    code, err = line()
    log = line.calls[0][1] / "run.log"
    assert code == 1
    assert err.count("\n") == 1
    assert f"its traceback is in {log}" in err
    assert "ZeroDivisionError" in log.read_text()


@pytest.mark.ci
@pytest.mark.fault("X2", "R8")
def test_signals_end_with_their_exit_codes(line: Line) -> None:
    line.then = fails(KeyboardInterrupt())
    assert line() == (130, "error: interrupted\n")

    def after_a_case(config: Config, folder: Path, command: Sequence[str]) -> int:
        (folder / "cases").mkdir()
        (folder / "cases" / "a.json").write_text("{}")
        raise KeyboardInterrupt

    line.then = after_a_case
    assert line() == (130, "error: interrupted; the same command with resume=true continues\n")
    line.then = fails(SystemExit(143))
    code, err = line()
    assert (code, err.count("\n")) == (143, 1)
    line.then = lambda config, folder, command: 130
    assert line("-m", "seed=1,2") == (130, "")
    assert len(line.calls) == 4


@pytest.mark.ci
def test_several_jobs_all_run_and_the_worst_exit_code_is_the_commands(line: Line, tmp_path: Path) -> None:
    codes = {1: 0, 2: 5, 3: 3, 4: 0}
    line.then = lambda config, folder, command: codes[config.seed]
    assert line("figures=worst:1,best:1", "-m", "seed=1,2,3,4") == (5, "")
    assert [call[0].seed for call in line.calls] == [1, 2, 3, 4]
    assert len({call[1] for call in line.calls}) == 4
    assert line.calls[1][1].parent == tmp_path / "outputs" / "phantom_cc359" / "figures-worst-1-best-1+seed-2"
    assert line.calls[1][2][-1] == "seed=2"


def test_an_option_that_does_not_exist_stops_several_jobs_before_the_first(line: Line) -> None:
    code, err = line("-m", "sam=tiny,vit_x")
    assert (code, err.count("\n")) == (2, 1)
    assert "sam=vit_x does not exist" in err
    assert not line.calls


@pytest.mark.ci
def test_one_wrong_job_of_several_does_not_stop_the_others(line: Line) -> None:
    code, err = line("-m", "seed=1,-2,3")
    assert code == 2
    assert "seed=-2 is out of range" in err
    assert [call[0].seed for call in line.calls] == [1, 3]


def began(folder: Path) -> None:
    (folder / "cases").mkdir()
    (folder / "cases" / "a.json").touch()


@pytest.mark.ci
def test_resume_takes_the_newest_unfinished_folder_of_the_same_overrides(line: Line) -> None:
    for overrides in (["seed=1"], ["seed=1"], ["seed=1"], ["seed=1"], ["seed=2"]):
        line(*overrides)
    first, second, third, _, other = (call[1] for call in line.calls)
    for folder in (first, second, third, other):
        began(folder)  # the fourth failed before its first case
    (third / "summary.json").touch()
    line("resume=true", "seed=1", "progress=false")
    assert line.calls[-1][1] == second
    assert line.calls[-1][0].resume
    line("seed=1", "resume=true")
    assert line.calls[-1][1] == second


@pytest.mark.ci
def test_resume_takes_the_folder_it_is_told(line: Line, tmp_path: Path) -> None:
    line("hydra.run.dir=mine")
    began(tmp_path / "mine")
    assert line("hydra.run.dir=mine", "resume=true") == (0, "")
    assert line.calls[-1][1] == tmp_path / "mine"
    (tmp_path / "mine" / "summary.json").touch()
    code, err = line("hydra.run.dir=mine", "resume=true")
    assert code == 2
    assert "mine holds no unfinished run" in err


def test_the_report_has_one_place_and_no_run_folder(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("salip_exp._commands.report")
    module.__dict__["command"] = lambda config, folder, typed: 0
    monkeypatch.setitem(sys.modules, "salip_exp._commands.report", module)
    assert line("task=report") == (0, "")
    assert [each.name for each in (tmp_path / "outputs").iterdir()] == ["report"]


def test_the_cache_is_shown_without_a_run_folder(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SALIP_CACHE", str(tmp_path / "kept"))
    assert line("task=cache") == (0, "")
    assert [each.name for each in (tmp_path / "outputs").iterdir()] == ["cache"]
    assert not (tmp_path / "kept").exists()
    assert line("task=cache", "cache=memory")[0] == 2
    assert line("task=cache", "dataset=phantom_hc18", "cache.clear=true")[0] == 0
    assert not line.calls


@pytest.mark.fault("X7")
def test_an_output_folder_that_cannot_be_made_ends_with_6(line: Line, tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file in the way")
    code, err = line()
    assert code == 6
    assert "outputs=DIR" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "default"),
        (["dataset=hc18", "dataset.root=/data/x", "resume=true", "progress=false", "outputs=o"], "default"),
        (["sam=vit_b", "+ablation=no_filter"], "no_filter+sam-vit_b"),
        (["method=gt_sam", "preset=paper"], "gt_sam+paper"),
        (["+ablation=[no_filter,other]"], "no_filter-other"),
        (["vdt.file=../../etc/pass wd"], "vdt.file-..-..-etc-pass-wd"),
    ],
)
def test_a_run_is_named_by_what_changes_its_numbers(overrides: list[str], name: str) -> None:
    assert label(overrides) == name
    assert label(overrides[::-1]) == name


def test_long_names_are_cut_and_stay_apart() -> None:
    names = {label([f"vdt.sentences=['{'a long sentence, ' * 20}{end}']"]) for end in ("x", "y")}
    assert len(names) == 2
    assert all(len(name) <= 100 for name in names)


def test_runs_whose_names_agree_are_told_apart_by_their_overrides(tmp_path: Path) -> None:
    folder = tmp_path / "hc18" / "view.kind-a-b" / "2026-01-01"
    (folder / ".hydra").mkdir(parents=True)
    began(folder)
    OmegaConf.save(OmegaConf.create(["view.kind=a/b", "resume=true"]), folder / ".hydra" / "overrides.yaml")
    assert unfinished(str(tmp_path), "hc18", ["view.kind=a/b"]) == folder
    assert unfinished(str(tmp_path), "hc18", ["view.kind=a:b"]) is None


def test_help_and_cfg_answer_without_any_heavy_import(tmp_path: Path) -> None:
    heavy = ["torch", "segment_anything", "clip", "scipy", "cv2", "pandas", "matplotlib", "wandb", "optuna"]
    program = (
        "import sys\nfrom salip_exp import cli\n"
        "try: cli.main()\nfinally: print('HEAVY', [m for m in sys.argv[1:] and {heavy} if m in sys.modules])"
    ).replace("{heavy}", repr(heavy))
    for arguments in (["--help"], ["--cfg", "job"]):
        answer = subprocess.run(
            [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert "HEAVY []" in answer.stdout
        assert "phantom_cc359" in answer.stdout
    assert not list(tmp_path.iterdir())


def test_both_entry_points_answer_from_any_folder(tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("salip-exp")
    answer = subprocess.run([script, "--cfg", "job"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout == process("--cfg", "job", cwd=tmp_path).stdout
    ended = process("sam=vit_x", cwd=tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1)


@pytest.mark.fault("X2")
def test_a_process_that_is_terminated_ends_with_143(tmp_path: Path) -> None:
    program = (
        "import sys, time, types\nmodule = types.ModuleType('salip_exp._commands.run')\n"
        "def command(*_):\n  print('started', flush=True)\n  while True: time.sleep(0.05)\n"
        # of one long sleep Python hears nothing where the signal comes just before it
        "module.command = command\n"
        "sys.modules[module.__name__] = module\nfrom salip_exp import cli\ncli.main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    os.kill(child.pid, signal.SIGTERM)
    _, err = child.communicate()
    assert child.returncode == 143
    assert err.startswith("error: terminated")
    assert err.count("\n") == 1
