"""The command line: compose, validate, dispatch on `task`, and end with one line and the right exit code.

Networks are imported by what a task calls, never here: `--help` and `--cfg job` must answer at once.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from salip_exp import __version__
from salip_exp._console import only_words
from salip_exp._runs._process import CODES, keep_freed_memory
from salip_exp._secrets import hidden, keep
from salip_exp._settings.compose import FAULTS, VERSION_BASE, compose, explain
from salip_exp._settings.folders import is_unfinished, key_of, unfinished, way_on
from salip_exp._settings.foreign import refuse_foreign_code
from salip_exp._settings.sweep import Ended, told, under_way
from salip_exp._settings.validate import typed
from salip_exp._wording import brief
from salip_exp.config import Config, Task
from salip_exp.errors import ConfigError, EnvironmentFault, SalipError, Unwritable

log = logging.getLogger(__name__)

FAULT, INTERRUPTED = 1, CODES[signal.SIGINT]
_TERMINATED = set(CODES.values()) - {INTERRUPTED}
_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.EIO}
"""Errors of the operating system that say something about the machine and nothing about the program."""


def main() -> NoReturn:
    """Run the command line of the process and leave with its exit code."""
    only_words()
    for number in set(CODES) - {signal.SIGINT}:
        signal.signal(number, _terminate)
    keep_freed_memory()
    if "--version" in sys.argv[1:]:  # Hydra would name itself alone
        print(f"salip_exp {__version__}, Hydra {hydra.__version__}")
        sys.exit(0)
    overrides, flags = _apart(sys.argv[1:])
    several = any(each in ("-m", "--multirun") for each in flags)
    sys.argv[1:] = [*(quoted(each, several) for each in spelt_out(overrides)), *flags]
    # With this set Hydra lets exceptions pass; without it, it prints them and leaves with 1.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.exit(command())


def _apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Overrides, wherever they stand, and flags with their values: argparse reads overrides in one block alone."""
    known, others = get_args_parser().parse_known_args(list(arguments))
    late = [each for each in others if not each.startswith("-")]
    flags = list(arguments)
    for each in (*known.overrides, *late):
        flags.remove(each)
    return [*known.overrides, *late], flags


def spelt_out(arguments: Sequence[str]) -> list[str]:
    """`task=status FOLDER` as Hydra reads it, where the folder stands for `status.run`; of `task=describe` organ and
    modality for its keys.
    """
    if "task=describe" in arguments:
        return [f"describe.{each}" if key_of(each) in ("organ", "modality") else each for each in arguments]
    alone = "task=status" in arguments
    return [f"status.run={each}" if alone and "=" not in each and each[:1] != "-" else each for each in arguments]


def command() -> int:
    """The command in `sys.argv`; complaints go to stderr, one line each.

    Returns:
        0 ok, 1 a fault of the program, 2 configuration, 3 data, 4 weights, 5 too many failed cases, 6 environment,
        130 interrupted, 143 terminated; of several jobs (`-m`), the highest.
    """
    codes: list[int] = []
    try:
        _check_first(sys.argv[1:])
        _hydra(codes)
    except SalipError as error:
        codes.append(_complain(str(error), error.exit_code))
    except KeyboardInterrupt:
        codes.append(_complain("interrupted", INTERRUPTED))
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else FAULT if error.code else 0
        if code in _TERMINATED and code not in codes:
            _complain("terminated", code)
        codes.append(code)
    except Exception as error:
        codes.append(_complain(_unforeseen(error, _keep_traceback()), FAULT))
    return max(codes, default=0)


_AS_TYPED = {
    *("figures", "outputs", "tuned", "cache.folder", "vdt.file", "tuning.storage", "hydra.run.dir", "hydra.sweep.dir"),
    *("dataset.root", "dataset.subset", "sam.weights", "clip.weights", "unet.weights"),
    *("dataset.files.images", "dataset.files.masks", "dataset.files.table", "export.run", "status.run"),
    *("explore.run", "explore.case"),
    *("describe.organ", "describe.modality", "describe.file", "vdt.llm.base_url", "vdt.llm.model"),
}
"""Keys of one text, mostly a path, which is what was typed, whatever Hydra's grammar would make of its signs."""


def quoted(argument: str, several: bool = False) -> str:
    """An argument as Hydra must be told it, and as it may be recorded.

    `figures=worst:5,best:5` needs quotes: a value with commas would be several runs. So does `outputs=/data/study (1)`,
    which Hydra cannot read. `+tuned=FILE` reads like `+ablation=NAME`, but the key is there already, so it takes no
    plus. A password is hidden before anybody reads the argument.

    Args:
        several: whether commas between values mean several runs (`-m`).
    """
    argument = argument.removeprefix("+") if argument.startswith("+tuned=") else argument
    argument = _without_secret(argument) if key_of(argument).startswith(("tuning", "vdt.llm")) else argument
    key, _, value = argument.partition("=")
    if key not in _AS_TYPED or not value or value[0] in "'\"[" or "$" in value or "\\" in value:
        return argument
    if value == "null" or (several and "," in value and key != "figures") or _read(argument) == value:
        return argument
    escaped = value.replace("'", "\\'")
    return f"{key}='{escaped}'"


def _without_secret(argument: str) -> str:
    key, equals, value = argument.partition("=")
    quote = value[:1] if value[:1] in ("'", '"') and value[-1:] == value[:1] else ""
    bare = value.strip(quote) if quote else value
    return f"{key}{equals}{quote}{keep(bare)}{quote}"


def _read(argument: str) -> str | None:
    """The one value that Hydra would read; None where it would read several, or nothing."""
    try:
        override = OverridesParser.create().parse_override(argument)
    except FAULTS:
        return None
    return None if override.is_sweep_override() or override.value() is None else str(override.value())


def _check_first(arguments: Sequence[str]) -> None:
    """Validate a plain run before Hydra makes its folder; with flags (-m, --cfg ...) each job validates itself."""
    refuse_foreign_code(arguments)
    _refuse_parts_apart(arguments)
    if any(each.startswith(("-", "hydra.mode")) for each in arguments):
        return
    config = typed(compose(arguments))
    if config.shard is not None and not any(each.startswith("hydra.run.dir=") for each in arguments):
        raise ConfigError(f"shard={config.shard} is part of one run for all its workers: add hydra.run.dir=FOLDER")
    if (
        config.resume
        and config.shard is None
        and config.task is Task.run
        and not (config.seeds or config.dataset.files.labels)
    ):
        _check_resumable(config, arguments)


def _refuse_parts_apart(arguments: Sequence[str]) -> None:
    """Refuse parts of one run as jobs of `-m`, each of which has a folder of its own and would never be ended."""
    part = next((each for each in arguments if key_of(each) == "shard"), None)
    several = any(each in ("-m", "--multirun") for each in arguments)
    if part is not None and several and not any(each.startswith("hydra.sweep.subdir=") for each in arguments):
        raise ConfigError(
            f"{part} is part of one run for all its workers, and -m gives every job a folder of its own: start each "
            "part by a command without -m, with hydra.run.dir=FOLDER"
        )


def _check_resumable(config: Config, arguments: Sequence[str]) -> None:
    new = "without resume=true a new one starts"
    chosen = next((each.partition("=")[2] for each in arguments if each.startswith("hydra.run.dir=")), None)
    if chosen is not None and not is_unfinished(Path(chosen)):
        raise ConfigError(f"resume=true: {chosen} holds no unfinished run; {new}")
    overrides = [each for each in arguments if not each.startswith("hydra.")]
    if chosen is None and unfinished(config.outputs, config.dataset.name, overrides) is None:
        raise ConfigError(
            f"resume=true: below {config.outputs} there is no unfinished run of {config.dataset.name} "
            f"with the same overrides; {new}"
        )


def _hydra(codes: list[int]) -> None:
    """Let Hydra run the job, or each of several, or answer its flags; exit codes of jobs are appended to `codes`."""

    def job(cfg: DictConfig) -> Ended:
        ended = _job(cfg)
        codes.append(ended.code)  # in another process, to a copy of it
        if ended.code in CODES.values():
            raise SystemExit(ended.code)
        return ended

    whole = False
    try:
        hydra.main(config_path="pkg://salip_exp.conf", config_name="config", **VERSION_BASE)(job)()
        whole = True
    except FAULTS as error:
        cause = error.__cause__
        if isinstance(cause, OSError):  # the log cannot be opened
            raise _no_folder(cause) from error
        raise explain(error) from error
    except OSError as error:
        raise _no_folder(error) from error
    except Exception as error:
        if not under_way():
            raise
        said = f"{type(error).__name__}: {brief(str(error))}"
        raise EnvironmentFault(f"the launcher or sweeper stopped ({said}): see what became of its jobs") from error
    finally:
        _end_several(codes, whole)


def _end_several(codes: list[int], whole: bool) -> None:
    """The table of `-m`, and the exit codes of its jobs; one whose end is not seen counts unless Hydra has stopped."""
    jobs = told()
    if len(jobs) > 1 and any(each.folder for each in jobs):
        import_module("salip_exp._commands._jobs").show_jobs(jobs)
    codes += [each.code for each in jobs if each.code is not None]
    codes += [EnvironmentFault.exit_code for each in jobs if each.code is None and whole]


def _no_folder(error: OSError) -> EnvironmentFault:
    return EnvironmentFault(f"the run folder cannot be made or written: {error}; choose another by outputs=DIR")


def _job(cfg: DictConfig) -> Ended:
    """One job from its composed configuration to how it ended; its tracebacks go to run.log."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a full disk must not end in logging's own traceback
    task = None
    try:
        config = typed(cfg)
        task = config.task
        return Ended(_dispatch(config, folder))
    except Unwritable as error:
        log.exception("exit code %d", error.exit_code)
        return _ended(f"{error}{_way_on(task, folder)}", error.exit_code)
    except SalipError as error:
        log.exception("exit code %d", error.exit_code)
        return _ended(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _ended(f"interrupted{_way_on(task, folder)}", INTERRUPTED)
    except SystemExit as error:
        if not isinstance(error.code, int) or error.code not in _TERMINATED:
            raise
        return _ended(f"terminated{_way_on(task, folder)}", error.code)
    except Exception as error:
        log.exception("not foreseen")
        if isinstance(error, OSError) and error.errno in _MACHINE:
            said = f"{error}: make room or get access{_way_on(task, folder)}"
            return _ended(said, EnvironmentFault.exit_code)
        return _ended(_unforeseen(error, folder / "run.log"), FAULT)


def _way_on(task: Task | None, folder: Path) -> str:
    on = "" if task is None else way_on(task, folder)
    return f"; {on}" if on else ""


def _dispatch(config: Config, folder: Path) -> int:
    """Leave it to the command of the task, which loads what it needs; nothing is loaded for another."""
    command = import_module(f"salip_exp._commands.{config.task}").command
    code: int = command(config, folder, _command_line())
    return code


def _command_line() -> list[str]:
    """What to type to get this one job again."""
    program = ["salip-exp"] if Path(sys.argv[0]).stem == "salip-exp" else ["python", "-m", "salip_exp"]
    settings = HydraConfig.get()
    alone = settings.mode is not RunMode.MULTIRUN
    return [*program, *map(_as_typed, sys.argv[1:] if alone else settings.overrides.task)]


def _as_typed(argument: str) -> str:
    """An argument without the quotes that `quoted` put in."""
    plain = re.sub(r"^([\w.+]+=)'(.*)'$", r"\1\2", argument).replace("\\'", "'")
    return plain if quoted(plain) == argument else argument


def _ended(sentence: str, code: int) -> Ended:
    return Ended(_complain(sentence, code), brief(sentence))


def _complain(sentence: str, code: int) -> int:
    print("error:", brief(sentence), file=sys.stderr)
    return code


def _unforeseen(error: Exception, place: Path) -> str:
    return f"{type(error).__name__}: {brief(str(error))}; this is a fault of salip_exp, its traceback is in {place}"


def _keep_traceback() -> Path:
    with tempfile.NamedTemporaryFile("w", prefix="salip_exp-", suffix=".log", delete=False) as stream:
        stream.write(hidden(traceback.format_exc()))
    return Path(stream.name)


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(CODES[signal.Signals(number)])
