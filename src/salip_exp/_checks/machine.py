"""What a run needs of the machine: a device that is large enough, folders that can be written, room on their disks."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from salip_exp._checks.finding import Finding, failure, fine, warning
from salip_exp._checks.inputs import Data, missing
from salip_exp._engines.base import engine
from salip_exp._files import cache_folder, prove_writable
from salip_exp.cache.store import folder_of
from salip_exp.cascade.options import crop_boxes, most_candidates
from salip_exp.config import CacheMode, Config, ExecutorName
from salip_exp.errors import EnvironmentFault, SalipError
from salip_exp.methods.traits import METHODS, Chooser
from salip_exp.networks.registry import EMBEDDED_NAMES, entry_of

_DEVICE = "device"

HEADS = {"vit_b": 12, "vit_l": 16, "vit_h": 16}
TOKENS = 64 * 64
"""Patches of SAM's 1024-pixel input, over which its global attention goes."""
_ATTENTION_COPIES = 3  # the product, its bias by position, its softmax
_DECODING = 4 * 2**30  # what decoding and upscaling hold at a time (cascade.candidates)


def device_findings(config: Config) -> Iterator[Finding]:
    """An absent GPU, one that is too small, or official networks on a CPU."""
    networks = METHODS[config.method].networks
    if not networks:
        return
    official = [name for name in networks if getattr(config, name).name not in EMBEDDED_NAMES]
    if config.device == "cpu" or (config.device == "auto" and shutil.which("nvidia-smi") is None):
        why = "device=cpu" if config.device == "cpu" else "device=auto finds no GPU"
        if official:
            yield warning(
                _DEVICE, f"{why}: official networks take minutes per image on a CPU; device=cuda on another machine"
            )
        else:
            yield fine(_DEVICE, f"{why}: the embedded networks are small enough for a CPU")
        return
    yield from _gpu(config)


def executor_findings(config: Config) -> Iterator[Finding]:
    """An executor that is not installed, or whose programs are not here."""
    if config.executor.name is ExecutorName.serial:
        return
    try:
        engine(config.executor)
    except SalipError as error:
        yield failure("executor", error)
    else:
        yield fine("executor", f"{config.executor.name} can start workers from here")


def bytes_needed(config: Config) -> int:
    """About what the networks take on a GPU: their weights, the encoder's global attention, and masks being upscaled.

    An estimate from sizes of tensors; where memory runs short a run takes fewer crops, points and masks at a time.
    """
    weights = sum(entry_of(config, network).size or 0 for network in METHODS[config.method].networks)
    attention = _ATTENTION_COPIES * 4 * HEADS.get(config.sam.name, 0) * TOKENS**2
    return weights + attention + _DECODING


def _gpu(config: Config) -> Iterator[Finding]:
    import torch

    from salip_exp.networks.device import pick_device

    try:
        device = pick_device(config.device)
        needed = bytes_needed(config)
    except SalipError as error:
        yield failure(_DEVICE, error)
        return
    if device.type == "mps":
        yield fine(_DEVICE, "device=mps: Apple's GPU, whose memory is the machine's")
        return
    if device.type == "cpu":
        yield warning(_DEVICE, "device=auto finds no GPU that PyTorch can use: networks run on the CPU")
        return
    free, total = torch.cuda.mem_get_info(device)
    said = (
        f"{torch.cuda.get_device_name(device)}: {_gb(free)} of {_gb(total)} free, "
        f"{config.sam.name} and {config.clip.name} need about {_gb(needed)}"
    )
    if free >= needed:
        yield fine(_DEVICE, said)
    else:
        todo = "end what else uses it, or take a smaller network (sam=vit_b) or device=cpu"
        yield failure(_DEVICE, EnvironmentFault(f"{said}: {todo}"))


def _gb(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


FOLDERS = "folders"

RECORD = 60_000  # bytes that a case leaves in the run folder: record, prediction, its share of pictures
_FEATURES = {
    **dict.fromkeys(EMBEDDED_NAMES, 256 * 16 * 16 * 4),
    "sam_hq_vit_b": (256 + 768) * 64 * 64 * 4,
    **{f"sam2_1_{size}": 3 * 256 * 64 * 64 * 4 for size in ("tiny", "small", "base_plus", "large")},
    "sam3": 3 * 256 * 72 * 72 * 4,
}
OFFICIAL = 256 * 64 * 64 * 4  # bytes of a SAM embedding of one crop box
ROW = 160  # bytes of a candidate without its mask
SHARE = 6  # a candidate's box covers about a sixth of the image, measured on the phantoms


def folder_findings(config: Config) -> Iterator[Finding]:
    """Folders that cannot be written."""
    for name, folder, todo in _folders(config):
        fault = _unwritable(folder)
        if fault is None:
            yield fine(FOLDERS, f"{name} {folder} can be written")
        else:
            yield failure(FOLDERS, EnvironmentFault(f"the {name} {folder} cannot be written ({fault}): {todo}"))


def disk_findings(config: Config, data: Data) -> Iterator[Finding]:
    """Room for results, weights to be fetched, and the cache, by what `data` shows of the images."""
    if not data.cases:
        return
    results, kept = data.cases * RECORD, data.cases * bytes_of_a_case(config, data.pixels)
    fetched = sum(entry.size or 0 for entry in missing(config)) if config.download else 0
    yield _room("results", _existing(Path(config.outputs)), results)
    if fetched:
        yield _room("weights to be fetched", _existing(cache_folder()), fetched)
    if config.cache.mode is CacheMode.disk:
        yield _cache(config, kept)


def bytes_of_a_case(config: Config, pixels: int) -> int:
    """About what the cache keeps of one image: an embedding per crop box, and every candidate with its mask."""
    traits = METHODS[config.method]
    if not traits.sam:
        return 0
    sam, layers = config.sam, range(config.sam.crop_n_layers + 1)
    crops = sum(crop_boxes(layer) for layer in layers)
    asked = most_candidates(sam.points_per_side, sam.crop_n_layers, sam.crop_n_points_downscale_factor)
    candidates = 0 if traits.chooser is Chooser.nobody else asked
    return crops * _FEATURES.get(config.sam.name, OFFICIAL) + candidates * (ROW + pixels // 8 // SHARE)


def _cache(config: Config, kept: int) -> Finding:
    folder = _existing(folder_of(config.cache))
    free, budget = shutil.disk_usage(folder).free, int(config.cache.disk_gb * 1e9)
    said = f"the cache keeps about {_size(kept)} of these images"
    if kept > budget:
        return warning(
            "disk", f"{said}, more than cache.disk_gb={config.cache.disk_gb:g}: a second run computes what had to leave"
        )
    if kept > free:
        return warning(
            "disk",
            f"{said}, and {_size(free)} are free at {folder}: it stops keeping there; cache.folder=DIR has more room",
        )
    return fine("disk", f"{said}; {_size(free)} are free at {folder}")


def _room(what: str, folder: Path, needed: int) -> Finding:
    free = shutil.disk_usage(folder).free
    said = f"{what} need about {_size(needed)}, and {_size(free)} are free at {folder}"
    return fine("disk", said) if free >= needed else failure("disk", EnvironmentFault(f"{said}: make room"))


def _folders(config: Config) -> Iterator[tuple[str, Path, str]]:
    yield "output folder", Path(config.outputs).absolute(), "choose another by outputs=DIR"
    if config.cache.mode is CacheMode.disk:
        yield (
            "cache folder",
            folder_of(config.cache).absolute(),
            "choose another by cache.folder=DIR or SALIP_CACHE, or keep nothing on disk by cache=memory",
        )


def _unwritable(folder: Path) -> str | None:
    """Why nothing can be written to a folder, or to where it would be made; None where it can."""
    try:
        existing = _existing(folder)
        if not existing.is_dir():
            return f"{existing} is no folder"
        prove_writable(existing)
    except OSError as error:
        return error.strerror or str(error)
    return None


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next(each for each in (folder, *folder.parents) if os.path.lexists(each))


def _size(size: float) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{size / 1e6:,.1f} MB"
