"""What methods ask of CLIP, each computed once: the prototype of a text, and the embedding of every view."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray

from salip_exp._timing import Stopwatch
from salip_exp.cache._base import content_key
from salip_exp.cache._fetch import fetch, fetch_rows
from salip_exp.cache.store import Arrays, Stage, Store
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.pool import DIGEST_BYTES, Pool
from salip_exp.cascade.retrieval import Embedding, Text, embed_views, read_by, similarities
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

    def text(self, sentences: Sequence[str], order: Prototype) -> Text:
        """The sentences, and the one embedding that they are averaged to, as CLIP reads them.

        Raises:
            ConfigError: there is no sentence, or one is longer than CLIP reads.
        """

        @cache
        def encoded() -> Text:
            return read_by(self.net, sentences, order, self.counters)

        # Two entries: caches of earlier versions hold the first.
        key, of_each = (content_key(name, self.key, list(sentences), str(order)) for name in ("text", "sentences"))
        prototype = fetch(self.store, Stage.text, key, lambda: {"prototype": encoded().prototype})["prototype"]
        each = fetch(self.store, Stage.text, of_each, lambda: {"sentences": encoded().sentences})["sentences"]
        return Text(prototype, each)

    def scores(
        self, picture: Picture, pool: Pool, config: ViewConfig, texts: Sequence[Text], watch: Stopwatch
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Similarity of every candidate's view with each prototype, float32 (P, N), and with every sentence, (S, N).

        The pool must be `viewable`; sentences of several texts follow each other.
        """

        def encode(missing: NDArray[np.int64]) -> Arrays:
            starts = range(0, len(missing), self.batch)  # no more views are held than one forward takes
            parts = [pool.select(missing[start : start + self.batch]) for start in starts]
            return {"embedding": np.concatenate([self._embedded(picture, part, config, watch) for part in parts])}

        if not len(pool):
            sentences = sum(len(text.sentences) for text in texts)
            return np.zeros((len(texts), 0), np.float32), np.zeros((sentences, 0), np.float32)
        key = content_key("view", self.key, picture.key, settings_of(config))
        found = fetch_rows(self.store, Stage.view, key, _shown(pool), encode)
        prototypes, each = [text.prototype for text in texts], [row for text in texts for row in text.sentences]
        scores = np.stack([similarities(found["embedding"], one) for one in (*prototypes, *each)])
        return scores[: len(texts)], scores[len(texts) :]

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
