"""Networks in memory: runs of one process that ask for the same one share it."""

from __future__ import annotations

from collections.abc import Hashable

import torch

from salip_exp.config import Config
from salip_exp.models.arithmetic import sped_up
from salip_exp.models.clip import LoadedClip, load_clip
from salip_exp.models.sam import LoadedSam, load_sam
from salip_exp.models.unet import LoadedUnet, load_unet


class Loaded:
    """The SAM and the CLIP that were asked for last; another one takes the place of the one before it.

    So memory never holds two large networks of a kind, and runs that are ordered by network load each once.
    """

    def __init__(self) -> None:
        self._sam: tuple[Hashable, LoadedSam] | None = None
        self._clip: tuple[Hashable, LoadedClip] | None = None

    def sam(self, config: Config, device: torch.device) -> LoadedSam:
        """The configured SAM; raises what `load_sam` raises."""
        chosen = config.sam
        key = (chosen.name, chosen.weights, chosen.sha256, str(device), config.precision, config.compile)
        if self._sam is None or self._sam[0] != key:
            self._sam = None
            loaded = sped_up(load_sam(chosen, device, config.download), config.precision, config.compile)
            self._sam = key, loaded
        return self._sam[1]

    def clip(self, config: Config, device: torch.device) -> LoadedClip:
        """The configured CLIP; raises what `load_clip` raises."""
        chosen = config.clip
        arithmetic = chosen.precision, config.precision, config.compile
        key = (chosen.name, chosen.weights, chosen.sha256, str(device), *arithmetic)
        if self._clip is None or self._clip[0] != key:
            self._clip = None
            loaded = sped_up(load_clip(chosen, device, config.download), config.precision, config.compile)
            self._clip = key, loaded
        return self._clip[1]


def loaded_unet(config: Config, device: torch.device) -> LoadedUnet:
    """The configured U-Net, small enough to be read by every run; raises what `load_unet` raises."""
    return sped_up(load_unet(config.unet.weights, device), config.precision, config.compile)
