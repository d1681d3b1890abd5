"""The reproduction ledger: one folder per table and figure, made from a study folder; it names no place of a machine.

python -m salip_exp.ledger outputs/experiments/everything experiments
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from salip_exp._experiments.counting import COUNTED
from salip_exp._files import atomic_write
from salip_exp._runs.folder import read_json
from salip_exp._settings.folders import File, key_of
from salip_exp.errors import DataError, SalipError

_PLACES = ("outputs", "cache", "hydra", "progress", "resume", "threads")
"""Keys of a command that say where and how it ran, and change no number."""
_WHOLE = ("experiment", "experiment.parts")
"""Keys that say which parts a command makes."""
_PACKAGES = ("python", "salip_exp", "torch", "segment-anything", "openai-clip", "monai", "numpy", "scipy")
_PATH = re.compile(r"(?<![\w.:/])(?:/[\w.+~@-]+){2,}/?")


def write_ledger(study: Path, ledger: Path) -> list[Path]:
    """Write or renew the ledger's folders of all parts of a study.

    Args:
        study: a study folder with its `study.json`.
        ledger: holds a folder for each part; other folders in it are left alone.

    Returns:
        The folders written.

    Raises:
        DataError: there is no study.
        EnvironmentFault: the ledger cannot be written.
    """
    found = read_json(study / File.study)
    if found is None or found.get("kind") != "experiment":
        raise DataError(f"{study} holds no experiment: run python -m salip_exp +experiment=everything first")
    folders = [_write_table(study, ledger / table["name"], table, found) for table in found["tables"]]
    folders += [_write_figure(study, ledger / figure["name"], figure, found) for figure in found["figures"]]
    return [*folders, _write_whole(ledger / found["name"], found)] if len(folders) > 1 else folders


def _write_table(study: Path, folder: Path, table: Mapping[str, Any], found: Mapping[str, Any]) -> Path:
    name = table["name"]
    markdown = _placeless((study / f"{name}.md").read_text(encoding="utf-8"))
    atomic_write(folder / f"{name}.csv", _placeless((study / f"{name}.csv").read_text(encoding="utf-8")))
    atomic_write(folder / f"{name}.md", markdown)
    body = markdown.partition("\n")[2].strip()
    _write_readme(folder, table["title"], found, name, [table["reading"], "", body])
    return folder


def _write_figure(study: Path, folder: Path, figure: Mapping[str, Any], found: Mapping[str, Any]) -> Path:
    """Copy the figure's PNG, if it could be drawn; its PDF is made by the same command."""
    name = figure["name"]
    body = ["missing"]
    if figure["file"] is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(study / figure["file"], folder / f"{name}.png")
        body = [f"![{figure['title']}]({name}.png)"]
    notes = [f"- {_placeless(note)}" for note in figure["notes"]]
    _write_readme(folder, figure["title"], found, name, [*body, "", f"Rule: {figure['rule']}", "", *notes])
    return folder


def _write_whole(folder: Path, found: Mapping[str, Any]) -> Path:
    """All readings on one page, with what the experiment took."""
    counters = found["counters"]
    lines = ["| | computed | each cell alone | times fewer |", "|---|---|---|---|"]
    for name in COUNTED:
        done, alone = counters["computed"][name], counters["naive"][name]
        lines.append(f"| {name} | {done:,} | {alone:,} | {f'{alone / done:.1f}' if done else '–'} |")
    lines += ["", f"{counters['cells']} distinct cells, {found['seconds']:.0f} s. {counters['rule'].capitalize()}.", ""]
    lines += [f"- [{table['title']}](../{table['name']}): {table['reading']}" for table in found["tables"]]
    lines += [f"- [{figure['title']}](../{figure['name']}): {figure['rule']}" for figure in found["figures"]]
    _write_readme(folder, f"Experiment {found['name']}", found, found["name"], [_placeless(line) for line in lines])
    return folder


def _write_readme(folder: Path, title: str, found: Mapping[str, Any], part: str, body: list[str]) -> None:
    lines = [
        f"# {title}",
        "",
        "```bash",
        _command_of(found["command"], part),
        "```",
        "",
        *body,
        "",
        *_environment(found),
    ]
    atomic_write(folder / "README.md", "\n".join(lines) + "\n")


def _command_of(command: str, part: str) -> str:
    """The command that makes one part again, without what says where files lie."""
    program = ["python", "-m", "salip_exp", f"+experiment={part}"]
    kept = [each for each in shlex.split(command) if "=" in each and not each.startswith("-")]
    kept = [each for each in kept if key_of(each) not in _WHOLE and key_of(each).partition(".")[0] not in _PLACES]
    return shlex.join([*program, *(re.sub(r"(roots?\.?\w*)=.*", r"\1=DIR", each) for each in kept)])


def _environment(found: Mapping[str, Any]) -> Iterator[str]:
    """Where the numbers come from."""
    where = found["environment"]
    yield "## Where the numbers come from"
    yield ""
    yield f"- images: {found['data']}"
    yield from (f"- {note}" for note in found["notes"])
    for commit in where["commit"]:
        yield f"- commit {commit['id'][:12]}{', with changes' if commit['changed'] else ''}"
    for packages in where["packages"]:
        yield "- " + ", ".join(f"{name} {packages[name]}" for name in _PACKAGES if packages.get(name))
    for machine in where["machine"]:
        yield f"- {machine['cpu']}, {machine['cores']} cores, GPU: {machine['gpu'] or 'none'}"
    yield f"- device: {', '.join(where['device'])}"
    yield from (f"- {name}: SHA-256 {sha256}" for name, sha256 in where["weights"].items())


def _placeless(text: str) -> str:
    return _PATH.sub("PATH", text)


def main(arguments: list[str]) -> int:
    """The command line; returns the exit code."""
    if len(arguments) != 2:
        sys.stderr.write("usage: python -m salip_exp.ledger STUDY LEDGER\n")
        return 2
    try:
        folders = write_ledger(Path(arguments[0]), Path(arguments[1]))
    except SalipError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    sys.stdout.write("".join(f"{folder}\n" for folder in folders))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
