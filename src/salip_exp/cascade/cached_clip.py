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
from salip_exp.cascade.like_text import condition, like_text
from salip_exp.cascade.pool import DIGEST_BYTES, Pool
from salip_exp.cascade.retrieval import Embedding, Text, embed_views, read_by, similarities
from salip_exp.cascade.saliency import relevance
from salip_exp.cascade.spotting import require_spotter, spot
from salip_exp.cascade.views import settings_of, views
from salip_exp.cascade.work import Counters, Limits
from salip_exp.config import Prototype, ViewConfig
from salip_exp.networks._library_clip import LibraryClip, Spotted
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

    def relevance(self, picture: Picture, text: Text) -> NDArray[np.float32]:
        """What every pixel of a picture contributes to its likeness with a text (`cascade.saliency`), float32 (H, W).

        Raises:
            ConfigError: the image tower is no vision transformer.
            CaseError: E_NONFINITE, a gradient is no number.
        """
        key = content_key("relevance", self.key, picture.key, text.prototype)
        found: NDArray[np.float32] = fetch(
            self.store,
            Stage.view,
            key,
            lambda: {"relevance": relevance(self.net, picture.image, text.prototype, self.counters)},
        )["relevance"]
        return found

    def condition(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """What a CLIPSeg's decoder is told of the sentences, float32 (D,).

        Raises:
            ConfigError: the network has no decoder, or a sentence has more tokens than it reads.
        """
        key = content_key("condition", self.key, list(sentences))
        made = fetch(self.store, Stage.text, key, lambda: {"of": condition(self.net, sentences, self.counters)})
        found: NDArray[np.float32] = made["of"]
        return found

    def like(self, picture: Picture, wanted: NDArray[np.float32], threshold: float) -> NDArray[np.bool_]:
        """What of a picture is like a text, bool (H, W), by that decoder; raises CaseError as `like_text` does."""

        def decoded() -> Arrays:
            assert isinstance(self.net, LibraryClip)  # `condition` has asked
            return {"bits": np.packbits(like_text(self.net, picture.image, wanted, threshold, self.counters))}

        key = content_key("like", self.key, picture.key, wanted, threshold)
        bits = fetch(self.store, Stage.organ, key, decoded)["bits"]
        height, width = picture.size
        return np.unpackbits(bits, count=height * width).view(bool).reshape(height, width)

    def require_spotter(self, sentences: Sequence[str], masks: bool) -> None:
        """Raises ConfigError as `cascade.spotting.require_spotter` does."""
        require_spotter(self.net, sentences, masks)

    def spotted(self, picture: Picture, sentence: str, above: float) -> Spotted:
        """What the network finds in a picture by a sentence; raises CaseError as `spot` does."""

        height, width = picture.size

        def found() -> Arrays:
            boxes, scores, masks = spot(self.net, picture.image, sentence, above, self.counters)
            drawn = {} if masks is None else {"bits": np.packbits(masks.reshape(len(masks), height * width), axis=1)}
            return {"boxes": boxes, "scores": scores, **drawn}

        kept = fetch(self.store, Stage.organ, content_key("spotted", self.key, picture.key, sentence, above), found)
        if "bits" not in kept:
            return Spotted(kept["boxes"], kept["scores"], None)
        bits = np.unpackbits(kept["bits"], axis=1, count=height * width)
        return Spotted(kept["boxes"], kept["scores"], bits.view(bool).reshape(len(bits), height, width))

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
