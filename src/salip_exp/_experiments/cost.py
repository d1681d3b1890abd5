"""What a case takes: seconds of the method's own stages, and memory of the machine and of the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from salip_exp._experiments.cells import Finished
from salip_exp._runs.folder import read_json
from salip_exp._runs.records import CaseRecord
from salip_exp._settings.folders import File
from salip_exp.methods.traits import METHODS

_AROUND = {"load", "score", "attribution", "confidence", "total"}
"""What is timed of a case and is no part of the method."""


@dataclass(frozen=True)
class Cost:
    """What one case takes, with nothing kept from before.

    Attributes:
        seconds: median over cases; None where every one found something in the cache.
        n: cases that it is over.
        memory_mib: the most that the process held while cases were predicted and scored, networks, images, Python and
            libraries included; None where the system does not say.
        gpu_mib: the most that networks and images held on the GPU while cases were predicted and scored; None on a CPU.
        device: that it was measured on.
    """

    seconds: float | None
    n: int
    memory_mib: float | None
    gpu_mib: float | None
    device: str


def cost_of(cell: Finished) -> Cost:
    """The cost of a finished cell, from its records and its manifest."""
    manifest = read_json(cell.folder / File.manifest) or {}
    whole = [record for record in cell.records if not record.failed and _whole(record, cell.config.method)]
    taken = [sum(each for name, each in record.seconds.items() if name not in _AROUND) for record in whole]
    cases = (manifest.get("stages") or {}).get("cases") or {}
    device = str((manifest.get("machine") or {}).get("gpu") or "CPU")
    seconds = median(taken) if taken else None
    return Cost(seconds, len(taken), cases.get("held_mib"), cases.get("gpu_peak_mib"), device)


def _whole(record: CaseRecord, method: str) -> bool:
    """Whether a case asked every network that its method asks, so that none of it came from a cache."""
    traits, work = METHODS[method], record.work
    boxed = any(x1 > x0 and y1 > y0 for x0, y0, x1, y1 in record.boxes)
    idle = traits.prompts and record.n_pool is None and not boxed  # no box was found to ask SAM with
    asked = [work.get("encoder_calls", 0) > 0] if traits.sam and not idle else []
    asked += [work.get("decoded_points", 0) > 0] if record.n_pool is not None else []
    asked += [work.get("clip_images", 0) > 0] if traits.clip and record.n_kept != 0 else []
    asked += [work.get("box_decodes", 0) > 0] if traits.prompts and boxed else []
    return all(asked)


def told(costs: Sequence[Cost]) -> str:
    """What is said of the figures of a table."""
    devices = ", ".join(dict.fromkeys(each.device for each in costs)) or "no device"
    return (
        f"s per image: median over cases of the method's own stages, without reading and scoring, with cache=off, on "
        f"{devices}; MiB of memory: the most that the process held while cases were done, networks, Python and "
        "libraries included; MiB of GPU: the same there; it is not told for a CPU."
    )
