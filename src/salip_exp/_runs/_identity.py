"""What an output folder is of: one identity and one list of cases, written at its beginning and checked ever after."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from salip_exp._files import atomic_write, from_json, read_small
from salip_exp._settings.folders import File
from salip_exp._wording import some
from salip_exp.errors import EnvironmentFault

VERSION = 1
_VERB = {"study": "tune", "training": "train"}
_OTHER = {
    "recipe": "other settings, weights or text",
    "scores": "other scores of installed packages",
    "study": "other settings, weights, text or images",
    "training": "other settings or data",
    "experiment": "another experiment",
    "data": "other data",
    "overrides": "other settings",
}
"""What it means that a part of `Identity.of` is another one."""


@dataclass(frozen=True)
class Identity:
    """What the folder of a run, a study, a training or an experiment is of.

    Attributes:
        kind: which of these.
        of: all that its numbers depend on beside the cases, by name; most of it hashes.
        cases: ids in the order of the data: of a run all that it scores, of a study the tuning images, of a training
            all that it learns from, is stopped by, or is scored on; of an experiment its cells.
    """

    kind: str
    of: Mapping[str, Any]
    cases: list[str]


def read_identity(folder: Path) -> Identity | None:
    """What a folder says that it is of; None where earlier versions wrote it, or where it cannot be read."""
    try:
        found = from_json(read_small(folder / File.identity))
        return Identity(str(found["kind"]), dict(found["of"]), [str(each) for each in found["cases"]])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_identity(folder: Path, identity: Identity) -> None:
    """Say what a folder is of, from now on.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    content = {"version": VERSION, **asdict(identity)}
    atomic_write(folder / File.identity, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def require_same(folder: Path, identity: Identity) -> None:
    """Prove that a folder is of what is to go on in it; one that is of nothing yet is of that from now on.

    Raises:
        EnvironmentFault: it is of something else, or cannot be written.
    """
    before = read_identity(folder)
    if before is None:
        write_identity(folder, identity)
    elif what := differences(before, identity):
        other, verb = _OTHER[identity.kind], _VERB[identity.kind]
        raise EnvironmentFault(
            f"{folder} holds a {before.kind} with {other}: delete it, or {verb} elsewhere by hydra.run.dir=DIR "
            f"({'; '.join(what)})"
        )


def differences(before: Identity, now: Identity) -> list[str]:
    """In what a folder's identity is another one than before, in words."""
    if before.kind != now.kind:
        return [f"it is no {now.kind}"]
    other = [name for name in {**before.of, **now.of} if before.of.get(name) != now.of.get(name)]
    gone, new = without(before.cases, now.cases), without(now.cases, before.cases)
    found = [_OTHER.get(name, f"another {name}") for name in other]
    found += [f"no longer with {some(gone)}"] * bool(gone) + [f"now with {some(new)}"] * bool(new)
    return found or ["its cases in another order"] * (before.cases != now.cases)


def without(these: Sequence[str], those: Sequence[str]) -> list[str]:
    """The first that are none of the second, in their order."""
    others = set(those)
    return [each for each in these if each not in others]
