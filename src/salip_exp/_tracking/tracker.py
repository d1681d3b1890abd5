"""What a tracker is, and how a run introduces itself to it: id, group, tags and configuration."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from omegaconf import OmegaConf

from salip_exp._files import atomic_write
from salip_exp._settings import names
from salip_exp._settings.folders import File
from salip_exp._tracking.events import Event, Start
from salip_exp.config import Config

_FACTS = ("started", "command", "commit", "packages", "machine", "device", "arithmetic", "weights", "sentences")
_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@/\s]+@")


def started(config: Config, folder: Path, job_type: str, manifest: Mapping[str, Any]) -> Start:
    """The start of a run, or of its resumption.

    Args:
        config: of the run.
        folder: of the run; the id is kept there.
        job_type: what kind of run it is, e.g. its method.
        manifest: what is known of it by now, by the keys of `manifest.json`; `command` gives the ablations.
    """
    commit = manifest.get("commit")
    facts = {name: manifest[name] for name in _FACTS if name in manifest}
    if "data" in manifest:
        facts["data"] = {name: value for name, value in manifest["data"].items() if name != "excluded"}
    settings: Any = OmegaConf.to_container(OmegaConf.structured(config), enum_to_str=True)
    return Start(
        folder=folder.absolute(),
        run_id=run_id(folder),
        project=config.tracker.project,
        entity=config.tracker.entity,
        group="/".join(filter(None, (config.dataset.name, config.tracker.study))),
        job_type=job_type,
        name=_name(config, folder, str(manifest.get("started") or "")),
        tags=tags(config, manifest),
        config=without_passwords(settings | {"commit": commit and commit["id"], "manifest": facts}),
    )


def _name(config: Config, folder: Path, begun: str) -> str:
    """What pages and tables call the run, with its date; its folder where it has no name of its own."""
    called = names.called(names.words_of(config), "/".join(folder.absolute().parts[-2:]))
    return " · ".join(filter(None, (called, names.dated(begun))))


def run_id(folder: Path) -> str:
    """The id of the run in this folder; made on first use, so that a resumed run is the same run."""
    path = folder / File.tracker_id
    if not path.exists():
        atomic_write(path, secrets.token_hex(4) + "\n")
    return path.read_text(encoding="utf-8").strip()


def tags(config: Config, manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The preset, the networks with their hash where known, the words of the run's name, and every ablation typed."""
    named = {"sam": config.sam.name, "clip": config.clip.name}
    named |= {
        net: f"{of['name']} {of['sha256'][:6]}" for net, of in manifest.get("weights", {}).items() if net in named
    }
    found = [config.preset, *(f"{net} {name}" for net, name in named.items()), *(names.words_of(config) or [])]
    for word in shlex.split(str(manifest.get("command", ""))):
        key, _, value = word.partition("=")
        if key.lstrip("+") == "ablation":
            found += [each.strip() for each in value.strip("[]").split(",")]
    return tuple(dict.fromkeys(each[:64] for each in found if each))


def without_passwords(value: Any) -> Any:
    """Nested plain values, with stars for the password of every URL: what a tracker is told may leave the machine."""
    if isinstance(value, Mapping):
        return {str(name): without_passwords(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_passwords(each) for each in value]
    return _PASSWORD.sub(r"\1***@", value) if isinstance(value, str) else value


class Tracker(Protocol):
    """Hears of a run."""

    def tell(self, events: Iterable[Event]) -> None:
        """Take events, the first of all a Start; making them may cost something, so they may come from a generator."""
        ...

    def end(self, exit_code: int) -> None:
        """The run is over; what is told after the first end is not heard."""
        ...
