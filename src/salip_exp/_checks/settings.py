"""Settings that go together, and still spoil what the numbers say. Those that contradict each other are refused
before any task begins (`validate.py`)."""

from __future__ import annotations

import netrc
import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from salip_exp._checks.finding import Finding, fine, warning
from salip_exp.config import Config, TrackerMode, TrackerName
from salip_exp.methods.traits import METHODS
from salip_exp.networks.registry import EMBEDDED_NAMES

SETTINGS = "settings"

_KNOWN = {
    "tiny": (
        "brains, fetal heads and lungs",
        ("custom", "liver_ct", "spleen_ct", "kidneys_ct", "left_ventricle_mr"),
    ),
    "small": (
        "brains, fetal heads, lungs, livers, spleens and kidneys in CT slices, and left ventricles in MR slices",
        ("custom",),
    ),
}
"""What the embedded CLIPs have words for, and the texts of `conf/vdt` that may be of something else."""


def settings_findings(config: Config) -> Iterator[Finding]:
    """What a reader of the results would have to be told."""
    yield fine(SETTINGS, f"method={config.method} dataset={config.dataset.name} preset={config.preset} go together")
    if config.tuning.score_tuning_images:
        yield warning(
            SETTINGS,
            "tuning.score_tuning_images=true: images that settings are tuned on are scored too, and every table says "
            "so; false leaves them out",
        )
    networks = (("sam", config.sam), ("clip", config.clip))
    embedded = [f"{kind}={part.name}" for kind, part in networks if part.name in EMBEDDED_NAMES]
    if embedded and config.dataset.phantom is None:
        chosen = " and ".join(embedded)
        yield warning(
            SETTINGS,
            f"{chosen} on real images: embedded weights are trained on synthetic images only, and every table says so; "
            "sam=vit_h clip=vit_l_14 are the paper's",
        )
    known, strange = _KNOWN.get(config.clip.name, ("", ()))
    if METHODS[config.method].clip and config.vdt.name in strange:
        yield warning(
            SETTINGS, f"clip={config.clip.name} knows {known} alone: for the text of another organ take clip=vit_l_14"
        )
    if config.max_failed > 0:
        yield warning(SETTINGS, f"max_failed={config.max_failed}: so large a share of cases may fail with exit code 0")


TRACKER = "tracker"

_SERVER = "https://api.wandb.ai"


def tracker_findings(config: Config) -> Iterator[Finding]:
    """What wandb would stumble over; the server is asked only where mode=online, and not longer than patience_s."""
    tracker = config.tracker
    if tracker.name is TrackerName.none or tracker.mode is TrackerMode.disabled:
        yield fine(TRACKER, "tracker=none: the run folder alone keeps the results")
    elif find_spec("wandb") is None:
        yield warning(
            TRACKER, "tracker=wandb, but the package wandb is not installed: pip install wandb, or tracker=none"
        )
    elif tracker.mode is TrackerMode.offline:
        yield fine(TRACKER, "wandb keeps its files in the run folder (offline); `wandb sync` sends them later")
    else:
        yield _online(tracker.patience_s)


def _online(patience_s: float) -> Finding:
    server = urlsplit(os.environ.get("WANDB_BASE_URL", _SERVER))
    host, port = server.hostname or "", server.port or (80 if server.scheme == "http" else 443)
    if not _has_key(host):
        return warning(
            TRACKER, f"wandb has no key for {host}: `wandb login`, or WANDB_API_KEY; else the run goes on without it"
        )
    try:
        socket.create_connection((host, port), timeout=patience_s).close()
    except OSError as error:
        reason = error.strerror or str(error)
        return warning(
            TRACKER, f"{host} cannot be reached ({reason}): tracker.mode=offline keeps its files in the run folder"
        )
    return fine(TRACKER, f"wandb: a key is there, and {host} answers")


def _has_key(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
