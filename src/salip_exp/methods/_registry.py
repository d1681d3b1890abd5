"""The configured method around its networks."""

from __future__ import annotations

from collections.abc import Sequence

from salip_exp.cache.store import Store
from salip_exp.cascade.cached_clip import ClipStages
from salip_exp.cascade.cached_sam import SamStages
from salip_exp.cascade.work import Counters
from salip_exp.config import Config
from salip_exp.methods.base import Build, Method, Networks
from salip_exp.methods.traits import METHODS
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam
from salip_exp.networks.unet import LoadedUnet
from salip_exp.plugins import resolved


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
        config: names the method, whose traits say which of the networks may be None.
        store: where results of stages are kept.

    Raises:
        EnvironmentFault: a network that the method uses is None.
        ConfigError: a sentence is too long for CLIP.
    """
    counters = Counters()
    networks = Networks(
        counters,
        None if sam is None else SamStages(sam, store, counters),
        None if clip is None else ClipStages(clip, config.clip.batch_size, store, counters),
        unet,
        sentences,
    )
    build: Build = resolved(METHODS[config.method].build)
    return build(config, networks)
