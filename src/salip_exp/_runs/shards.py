"""Shards of a run: the cases that one worker takes at a time, cut once and kept in the run folder."""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from math import ceil
from pathlib import Path

from salip_exp._files import atomic_write, from_json, keep, let_go, read_file
from salip_exp._runs._identity import Identity
from salip_exp._settings.folders import File
from salip_exp.config import ExecutorConfig
from salip_exp.data.case import CaseRef

_MOST = 32
"""Cases of a shard, so that a lost worker costs minutes."""
_SHARE = 4
"""Shards for each worker, at least, so that none waits long for the last."""
_PLAN_BYTES = 256 << 20


@dataclass(frozen=True)
class Plan:
    """How a run is cut.

    Attributes:
        token: name of the folder of its claims; every plan has its own.
        of: what the run is of, as a hash.
        shards: ids of cases.
    """

    token: str
    of: str
    shards: Sequence[Sequence[str]]


def cut(refs: Sequence[CaseRef], config: ExecutorConfig, workers: int) -> list[list[str]]:
    """Ids of cases by shard; all of a subject are in one, so that a volume is read, and its slices kept, by one worker.

    Args:
        config: `shard_cases` bounds what several subjects make up together; one subject alone may have more.
        workers: that share the work.
    """
    most = config.shard_cases or max(1, min(_MOST, ceil(len(refs) / (_SHARE * workers))))
    subjects: dict[str, list[str]] = {}
    for ref in refs:
        subjects.setdefault(ref.subject, []).append(ref.case_id)
    shards: list[list[str]] = []
    for cases in subjects.values():
        if shards and len(shards[-1]) + len(cases) <= most:
            shards[-1] += cases
        else:
            shards.append([*cases])
    return shards


def digest(identity: Identity) -> str:
    """What a run is of, as a hash."""
    return sha256(json.dumps([identity.kind, identity.of, identity.cases], sort_keys=True).encode()).hexdigest()


def read_plan(folder: Path) -> Plan | None:
    """How the run in a folder is cut; None where it is not."""
    try:
        found = from_json(read_file(folder / File.shards / File.plan, _PLAN_BYTES))
        return Plan(str(found["token"]), str(found["of"]), [[str(each) for each in part] for part in found["shards"]])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_plan(folder: Path, identity: Identity, shards: Sequence[Sequence[str]]) -> Plan:
    """Cut the run in a folder, unless somebody else was faster: locks are not everywhere, but only one file has a name.

    Returns:
        How it is cut from now on, by whomever.

    Raises:
        EnvironmentFault: the folder cannot be written.
    """
    plan = Plan(uuid.uuid4().hex[:12], digest(identity), shards)
    place = folder / File.shards / plan.token
    keep(place)
    content = {"version": 1, "token": plan.token, "of": plan.of, "shards": plan.shards}
    draft, final = place / f".{File.plan}", folder / File.shards / File.plan
    atomic_write(draft, json.dumps(content, ensure_ascii=False) + "\n")
    try:
        final.hardlink_to(draft)
    except FileExistsError:
        let_go(place)
        shutil.rmtree(place, ignore_errors=True)
    except OSError:  # there are no second names of a file here: the last one is right
        draft.replace(final)
    draft.unlink(missing_ok=True)
    return read_plan(folder) or plan


def drop_plan(folder: Path) -> None:
    """Forget how the run in a folder is cut; its workers notice, and end."""
    plan = read_plan(folder)
    (folder / File.shards / File.plan).unlink(missing_ok=True)
    if plan is not None:
        shutil.rmtree(folder / File.shards / plan.token, ignore_errors=True)
    with suppress(OSError):
        (folder / File.shards).rmdir()
