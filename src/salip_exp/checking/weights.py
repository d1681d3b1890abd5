"""Weights: there, the right bytes, of the right variant. The network is not used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from salip_exp.checking.finding import Finding, failure, fine, warning
from salip_exp.config import ClipConfig, Config, MethodName, SamConfig
from salip_exp.errors import SalipError, WeightsError
from salip_exp.models.registry import Entry, Network, find
from salip_exp.models.weights import location, obtain

AREA = "weights"


def networks_of(method: MethodName) -> tuple[Network, ...]:
    """The networks that a method asks; told here without the import of any (`methods.registry` needs torch)."""
    if method in (MethodName.salip, MethodName.sam_clip):
        return "sam", "clip"
    return () if method is MethodName.unet else ("sam",)


def entry_of(config: Config, network: Network) -> Entry:
    """The registry's entry of a network, or the user's file in its place.

    Raises:
        ConfigError, WeightsError: as from `registry.find`.
    """
    part: SamConfig | ClipConfig = config.sam if network == "sam" else config.clip
    return find(network, part.name, part.weights, part.sha256)


def missing(config: Config) -> list[Entry]:
    """Official weights that a run would fetch first."""
    found = []
    for network in networks_of(config.method):
        try:
            entry = entry_of(config, network)
        except SalipError:
            continue
        if entry.url is not None and not entry.users and not location(entry).is_file():
            found.append(entry)
    return found


def weights_findings(config: Config) -> Iterator[Finding]:
    """One finding per network."""
    for network in networks_of(config.method):
        try:
            yield _look(config, entry_of(config, network))
        except SalipError as error:
            yield failure(AREA, error)


def _look(config: Config, entry: Entry) -> Finding:
    path = location(entry)
    fetched = config.download and entry.url is not None and not entry.users
    if fetched and not path.is_file():
        raise WeightsError(
            f"{entry.option}: {entry.file} ({(entry.size or 0) / 1e6:,.0f} MB, SHA-256 {entry.sha256}) is not in "
            f"{path.parent}: a run fetches it from {entry.url}, which needs a network; where there is none, put it "
            f"there, or use {entry.network}=tiny"
        )
    try:
        obtain(entry, download=False)
    except WeightsError as error:
        if fetched:
            return warning(AREA, f"{error}; a run with download=true fetches it again")
        raise
    if entry.users:
        _require_variant(entry, path)
    return fine(AREA, f"{entry.option}: {path.name}, SHA-256 {entry.sha256[:12]}..., as registered")


def _require_variant(entry: Entry, path: Path) -> None:
    """A user's hash says which file is meant, not what is in it."""
    from salip_exp.models.clip import read_clip
    from salip_exp.models.sam import read_sam

    (read_sam if entry.network == "sam" else read_clip)(entry, path)
