"""What methods ask of CLIP, each computed once: the prototype of a text, and the embedding of every view."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray

from salip_exp._timing import Stopwatch
from salip_exp.cache._base import content_key
from salip_exp.cache.fetch import fetch, fetch_rows
from salip_exp.cache.store import Arrays, Stage, Store
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.pool import DIGEST_BYTES, Pool
from salip_exp.cascade.retrieval import Embedding, embed_views, similarities, text_prototype
from salip_exp.cascade.views import settings_of, views
from salip_exp.cascade.work import Counters, Limits
from salip_exp.config import Prototype, ViewConfig
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.device import network_key


class ClipStages:
    """CLIP with a memory.

    Args:
        clip: the network.
        batch: views in one forward.
        store: where results are kept.
        counters: the network's work is added to it.
    """

    def __init__(self, clip: LoadedClip, batch: int, store: Store, counters: Counters) -> None:
        self.net = clip.net
        self.batch = batch
        self.store = store
        self.counters = counters
        self.key = network_key(clip)
        if clip.net.dtype is torch.float16:  # before 0.2.0 such embeddings were normalised in float32
            self.key = content_key(self.key, "normalised in float16")
        self._limits = Limits()

    def prototype(self, sentences: Sequence[str], order: Prototype) -> Embedding:
        """The one embedding that the sentences are averaged to, (D,).

        Raises:
            ConfigError: there is no sentence, or one is longer than CLIP reads.
        """

        def encode() -> Arrays:
            return {"prototype": text_prototype(self.net, sentences, order, self.counters)}

        key = content_key("text", self.key, list(sentences), str(order))
        prototype: Embedding = fetch(self.store, Stage.text, key, encode)["prototype"]
        return prototype

    def scores(
        self,
        picture: Picture,
        pool: Pool,
        config: ViewConfig,
        prototypes: Sequence[Embedding],
        watch: Stopwatch,
    ) -> NDArray[np.float32]:
        """Similarity of every candidate's view with each prototype, float32 (P, N); the pool must be `viewable`."""

        def encode(missing: NDArray[np.int64]) -> Arrays:
            starts = range(0, len(missing), self.batch)  # no more views are held than one forward takes
            parts = [pool.select(missing[start : start + self.batch]) for start in starts]
            return {"embedding": np.concatenate([self._embedded(picture, part, config, watch) for part in parts])}

        if not len(pool):
            return np.zeros((len(prototypes), 0), np.float32)
        key = content_key("view", self.key, picture.key, settings_of(config))
        found = fetch_rows(self.store, Stage.view, key, _shown(pool), encode)
        return np.stack([similarities(found["embedding"], prototype) for prototype in prototypes])

    def _embedded(self, picture: Picture, pool: Pool, config: ViewConfig, watch: Stopwatch) -> Embedding:
        with watch.stage("views"):
            pictures = views(picture.image, pool, config)
        with watch.stage("retrieval"):
            return embed_views(self.net, pictures, config.fit, self.batch, self.counters, self._limits)


def _shown(pool: Pool) -> NDArray[np.uint8]:
    """What decides a candidate's view in a picture, its mask and its box, as row keys (N, 16)."""
    rows = [
        blake2b(digest.tobytes() + box.tobytes(), digest_size=DIGEST_BYTES).digest()
        for digest, box in zip(pool.masks.digests, pool.boxes, strict=True)
    ]
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, DIGEST_BYTES)
