"""Methods by name."""

from __future__ import annotations

from collections.abc import Sequence

from salip_exp.cache.store import Store
from salip_exp.cascade.cached_clip import ClipStages
from salip_exp.cascade.cached_sam import SamStages
from salip_exp.cascade.work import Counters
from salip_exp.config import Config, MethodName
from salip_exp.errors import ConfigError
from salip_exp.methods.base import Method
from salip_exp.methods.bounds import GtSam, Oracle, UnpromptedSam
from salip_exp.methods.salip import Salip, SamClip
from salip_exp.methods.unet import Unet
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam
from salip_exp.networks.unet import LoadedUnet

WITH_CLIP = (MethodName.salip, MethodName.sam_clip)
WITHOUT_CLIP: dict[MethodName, type[GtSam | Oracle | UnpromptedSam]] = {
    MethodName.gt_sam: GtSam,
    MethodName.oracle: Oracle,
    MethodName.unprompted_sam: UnpromptedSam,
}


def needs_sam(name: MethodName) -> bool:
    """Whether the method asks SAM."""
    return name in WITH_CLIP or name in WITHOUT_CLIP


def needs_clip(name: MethodName) -> bool:
    """Whether the method asks CLIP, and so has sentences."""
    return name in WITH_CLIP


def build_method(
    config: Config,
    sam: LoadedSam | None,
    clip: LoadedClip | None,
    sentences: Sequence[str],
    store: Store,
    unet: LoadedUnet | None = None,
) -> Method:
    """The configured method around its networks; its text is encoded here, once.

    Args:
        store: where results of stages are kept.

    Raises:
        ConfigError: a network that the method needs is None, or a sentence is too long for CLIP.
    """
    if unet is not None:
        return Unet(unet)
    if sam is None:
        raise ConfigError(f"method={config.method} needs SAM: choose one with sam=NAME.")
    counters = Counters()
    sam_stages = SamStages(sam, store, counters)
    if config.method in WITHOUT_CLIP:
        return WITHOUT_CLIP[config.method](config, sam_stages)
    if clip is None:
        raise ConfigError(f"method={config.method} needs CLIP: choose one with clip=NAME.")
    method = Salip if config.method == MethodName.salip else SamClip
    return method(config, sam_stages, ClipStages(clip, config.clip.batch_size, store, counters), sentences)
