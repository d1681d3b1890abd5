"""wandb: installed, allowed, reachable. It never stops a run, so nothing here is an error."""

from __future__ import annotations

import netrc
import os
import socket
from collections.abc import Iterator
from importlib.util import find_spec
from urllib.parse import urlsplit

from salip_exp.checking.finding import Finding, fine, warning
from salip_exp.config import Config, TrackerMode, TrackerName

AREA = "tracker"
SERVER = "https://api.wandb.ai"


def tracker_findings(config: Config) -> Iterator[Finding]:
    """What wandb would stumble over; the server is asked only where mode=online, and not longer than patience_s."""
    tracker = config.tracker
    if tracker.name is TrackerName.none or tracker.mode is TrackerMode.disabled:
        yield fine(AREA, "tracker=none: the run folder alone keeps the results")
    elif find_spec("wandb") is None:
        yield warning(AREA, "tracker=wandb, but the package wandb is not installed: pip install wandb, or tracker=none")
    elif tracker.mode is TrackerMode.offline:
        yield fine(AREA, "wandb keeps its files in the run folder (offline); `wandb sync` sends them later")
    else:
        yield _online(tracker.patience_s)


def _online(patience_s: float) -> Finding:
    server = urlsplit(os.environ.get("WANDB_BASE_URL", SERVER))
    host, port = server.hostname or "", server.port or (80 if server.scheme == "http" else 443)
    if not _has_key(host):
        return warning(
            AREA, f"wandb has no key for {host}: `wandb login`, or WANDB_API_KEY; else the run goes on without it"
        )
    try:
        socket.create_connection((host, port), timeout=patience_s).close()
    except OSError as error:
        reason = error.strerror or str(error)
        return warning(
            AREA, f"{host} cannot be reached ({reason}): tracker.mode=offline keeps its files in the run folder"
        )
    return fine(AREA, f"wandb: a key is there, and {host} answers")


def _has_key(host: str) -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
