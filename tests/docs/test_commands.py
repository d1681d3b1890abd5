"""What the documents tell to type can be typed: every command is valid as written, and those that are marked run.

A block of bash or Python in README, CONTRIBUTING and the guides is checked line by line. In it DIR stands for a folder,
FILE for a file and HEX for a hash of the reader's. `<!-- run -->` above a block: its lines are run in order in an empty
folder, with fewer images (`SMALL`); `<!-- run slow -->`: the same, and `make test` leaves it out; `<!-- run data -->`:
the same, in a folder that holds somebody's data (`data_in`).
"""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from salip_exp import cli
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:^<!-- (run|run slow|run data) -->\n)?^```(bash|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROGRAM = (["python", "-m", "salip_exp"], ["salip-exp"])
OTHERS = {"git", "sha256sum", ".venv/bin/pre-commit"}  # are not ours to check
TUNED = "version: 1\nsam: {points_per_side: 8}\ntuned_on: {dataset: phantom_hc18, images: ['1']}\n"
SMALL = {
    "run": ["dataset.phantom.n=6", "dataset.limit=1", "sam.points_per_side=4", "figures=none", "score.resamples=100"],
    "tune": [
        *("dataset.phantom.n=6", "dataset.limit=4", "tuning.n_trials=2", "tuning.images=2", "tuning.draws=1"),
        "tuning.space.points_per_side.choices=[4]",
    ],
    "train": ["dataset.phantom.n=12", "unet.epochs=2", "figures=none"],
    "experiment": [
        "dataset.phantom.n=6",
        "dataset.limit=2",
        "dataset.volume.per_volume=1",
        "figures=none",
        "score.resamples=100",
    ],
    "check": ["dataset.phantom.n=6"],
}
"""What makes a task of the documents a matter of seconds; it changes no choice of option or stage."""
OF_DATA = {"run": ["sam.points_per_side=4", "figures=none", "score.resamples=100"]}
"""The same, where there are no phantoms."""


@dataclass(frozen=True)
class Block:
    """A block of a page: where, whether it is run, its language and its text."""

    place: str
    mark: str | None
    language: str
    text: str

    @property
    def commands(self) -> list[list[str]]:
        """Its lines as words: a backslash joins two lines, comments are dropped."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for found in BLOCK.finditer(text):
        mark, language, body = found.groups()
        yield Block(f"{page.relative_to(ROOT)}:{1 + text.count(chr(10), 0, found.start(3))}", mark, language, body)


BLOCKS = [block for page in PAGES for block in blocks_of(page)]
COMMANDS = {
    shlex.join(words): words for block in BLOCKS if block.language == "bash" for words in block.commands
}  # each once, however often it is told


def overrides_of(words: Sequence[str]) -> list[str] | None:
    """What is told to this program; None where a command starts another."""
    for program in PROGRAM:
        if words[: len(program)] == program:
            return [cli.quoted(each) for each in cli.spelt_out(words[len(program) :])]
    return None


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What stands for the reader's own folder, file and hash."""
    monkeypatch.setenv("SALIP_DATA", str(tmp_path))
    monkeypatch.syspath_prepend(ROOT)
    tuned = tmp_path / "tuned.yaml"
    tuned.write_text(TUNED)
    return {"DIR": str(tmp_path), "FILE": str(tuned), "HEX": 64 * "0"}


def test_the_documents_have_commands() -> None:
    assert len(COMMANDS) > 50
    assert {block.place.partition(":")[0] for block in BLOCKS} >= {"README.md", "docs/quickstart.md", "docs/tuning.md"}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_documents_is_valid(command: str, reader: dict[str, str]) -> None:
    words = [re.sub(r"\b(DIR|FILE|HEX)\b", lambda found: reader[found[1]], word) for word in COMMANDS[command]]
    overrides = overrides_of(words)
    if overrides is None:
        assert another_program(words), f"{command}: nothing of that name is here"
    elif "--help" not in overrides:
        for job in jobs(overrides):
            typed(compose(job))


def jobs(overrides: list[str]) -> list[list[str]]:
    """The jobs of a command, as overrides without Hydra's flags; with -m there is one for every value."""
    several = "-m" in overrides
    if "--cfg" in overrides:
        overrides = overrides[: overrides.index("--cfg")]
    told = [each for each in overrides if each != "-m"]
    return [list(job) for job in itertools.product(*map(values, told))] if several else [told]


def values(override: str) -> list[str]:
    key, _, rest = override.partition("=")
    return [f"{key}={value}" for value in rest.split(",")]


def another_program(words: Sequence[str]) -> bool:
    """Whether a target of the Makefile, an extra of the package, a script or a module of that name is there."""
    match list(words):
        case ["make", target, *_]:
            return re.search(rf"^{target}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE) is not None
        case ["pip", "install", what] if extra := re.fullmatch(r"salip_exp\[(\w+)\]", what):
            return extra[1] in (metadata("salip_exp").get_all("Provides-Extra") or [])
        case ["python", "-m", module, *_]:
            return importlib.util.find_spec(module) is not None
        case ["python" | "bash", script, *_]:
            return (ROOT / script).is_file()
        case [program, *_]:
            return program in OTHERS
    return False


MARKED = [
    pytest.param(block, id=block.place, marks=[pytest.mark.slow] if block.mark == "run slow" else [])
    for block in BLOCKS
    if block.mark
]


@pytest.mark.ci
@pytest.mark.parametrize("block", MARKED)
def test_a_marked_block_runs(
    block: Block,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module_at: Callable[[Path], ModuleType],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")  # restored afterwards: main() sets it
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    if block.mark == "run data":
        data_in(tmp_path, module_at(ROOT / "tests" / "data" / "test_dicom.py").series)
    if block.language == "python":
        exec(compile(block.text, block.place, "exec"), {})
        return
    for words in block.commands:
        overrides = overrides_of(words)
        assert overrides is not None, f"{words}: only commands of salip_exp can be run"
        monkeypatch.setattr(sys, "argv", ["salip-exp", *overrides, *less(overrides)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert ended.value.code == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"


def data_in(folder: Path, series: Callable[..., object]) -> None:
    """What somebody has: pictures with masks, pictures alone, a CT and an MR volume, and the CT as a DICOM series."""
    shape, affine = (24, 20, 5), np.diag([1.5, 1.5, 5.0, 1.0])
    inside = np.zeros(shape, bool)
    inside[4:10, 4:16, 1:4] = inside[14:20, 4:16, 1:4] = True
    for name in ("pt00", "pt01"):
        for path, values in ((f"scans/{name}_img", np.where(inside, 40, 200)), (f"labels/{name}_seg", inside * 255)):
            (folder / "xrays" / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values[..., 2].T.astype(np.uint8)).save(folder / "xrays" / f"{path}.png")
    (folder / "heads").mkdir()
    Image.fromarray(inside[..., 2].astype(np.uint8) * 200).save(folder / "heads" / "US 1.png")
    hounsfield = np.where(inside, -800, 50).astype(np.int16)
    for path, values in {"ct/images/chest": hounsfield, "ct/masks/chest": inside.astype(np.uint8),
                         "mr/images/sub-01": np.where(inside, 300, 20).astype(np.int16),
                         "truth/PAT1": inside.astype(np.uint8)}.items():  # fmt: skip
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(values, affine), folder / f"{path}.nii.gz")
    series(folder / "dicom" / "PAT1" / "series2", hounsfield, affine, [f"IM{number}" for number in range(5)])


def less(overrides: Sequence[str]) -> list[str]:
    """What is added to a command so that it takes seconds."""
    told = dict(each.partition("=")[::2] for each in overrides)
    task = "experiment" if "+experiment" in told else told.get("task", "run")
    small = OF_DATA if told.get("dataset") == "folder" else SMALL
    return [*small.get(task, []), "device=cpu", "progress=false"]


@pytest.mark.parametrize("block", [each for each in BLOCKS if each.language == "python"], ids=lambda block: block.place)
def test_python_of_the_documents_compiles(block: Block) -> None:
    compile(block.text, block.place, "exec")
