"""What methods ask of SAM, each computed once: embeddings, the table of candidates, cleaned masks, masks of boxes.

Every key is made of exactly what the result depends on: the picture, the network (`network_key`), the stage's own
settings. Thresholds are no part of a table, so a sweep over them, or an ablation after it, decodes nothing anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray

from salip_exp.cache._base import content_key
from salip_exp.cache._fetch import fetch, fetch_rows
from salip_exp.cache.store import Arrays, NoStore, Stage, Store
from salip_exp.cascade.candidates import ARRAYS, Candidates, Floor, Sampling, candidates, joined
from salip_exp.cascade.embedding import Crop, Embedding, crop_plan, embed_crops, input_size_of
from salip_exp.cascade.everything import Cleaned, clean_mask, pool_of, sampling_of, select, thresholds_of
from salip_exp.cascade.organ import Hint, segment_answers, segment_box, segment_unprompted, usable_boxes
from salip_exp.cascade.pool import DIGEST_BYTES, Masks, Pool, concatenate, pack
from salip_exp.cascade.work import Counters, Limits, extent, require_finite
from salip_exp.config import OrganConfig, SamConfig
from salip_exp.networks.device import network_key
from salip_exp.networks.sam import LoadedSam


@dataclass(frozen=True)
class Picture:
    """An image after resizing, uint8 (H, W, 3)."""

    image: NDArray[np.uint8]

    @cached_property
    def key(self) -> str:
        """Key of the pixels: two cases with one picture share all that is computed from it."""
        return content_key(self.image)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True)
class Answers:
    """All that SAM answers to some boxes, box by box.

    Attributes:
        masks: bool (n, H, W).
        predicted_iou: float32 (n,), its own estimate.
    """

    masks: NDArray[np.bool_]
    predicted_iou: NDArray[np.float32]


_Layer = Sequence[Crop]


class SamStages:
    """SAM with a memory.

    Args:
        sam: the network.
        store: where results are kept.
        counters: the network's work is added to it.
    """

    def __init__(self, sam: LoadedSam, store: Store, counters: Counters) -> None:
        self.net = sam.net
        self.store = store
        self.counters = counters
        self.key = network_key(sam)
        self._limits = Limits()
        self._latest: tuple[str, Embedding] | None = None

    def pool(self, picture: Picture, config: SamConfig) -> Pool:
        """Segment-everything mode (equation 1)."""
        thresholds = thresholds_of(config)
        # A table that is kept serves every later threshold; one that is not need hold no more than these let pass.
        floor = thresholds.floor if isinstance(self.store, NoStore) else Floor()
        plan = crop_plan(picture.size, config.crop_n_layers, config.crop_overlap_ratio)
        table = [
            crop
            for _, layer in groupby(plan, key=lambda crop: crop.layer)
            for crop in self._table(picture, list(layer), sampling_of(config), floor)
        ]

        def cleaned(masks: Masks, min_area: int) -> Cleaned:
            return self._cleaned(picture, masks, min_area)

        return pool_of(select(table, thresholds, cleaned))

    def organ(self, picture: Picture, boxes: NDArray[np.float32], config: OrganConfig) -> NDArray[np.bool_]:
        """The union of SAM's masks for the boxes (equation 5), bool (H, W); empty where no box is usable.

        Args:
            boxes: float32 (N, 4), x0 y0 x1 y1 in pixels; those not `usable_boxes` are left out.
        """
        bits = self._boxed(picture, usable_boxes(boxes, picture.size), config)
        return _unpacked(np.bitwise_or.reduce(bits, axis=0), picture.size)

    def organs(
        self, picture: Picture, boxes: NDArray[np.float32], config: OrganConfig, hints: Sequence[Hint] | None = None
    ) -> Masks:
        """SAM's mask for each box; an empty one for a box that is not usable.

        Args:
            hints: what it is told beside each; None: nothing.
        """
        usable = [len(usable_boxes(box[None], picture.size)) > 0 for box in boxes]
        told = None if hints is None else [hint for hint, good in zip(hints, usable, strict=True) if good]
        answers = iter(self._boxed(picture, usable_boxes(boxes, picture.size), config, told))
        empty = np.zeros(picture.size, dtype=bool)
        each = (_unpacked(next(answers), picture.size) if good else empty for good in usable)
        return concatenate(picture.size, [pack(mask[None]) for mask in each])

    def _boxed(
        self, picture: Picture, boxes: NDArray[np.float32], config: OrganConfig, hints: Sequence[Hint] | None = None
    ) -> NDArray[np.uint8]:
        """SAM's masks for usable boxes, packed to bits, uint8 (N, B)."""

        def decode(missing: NDArray[np.int64]) -> Arrays:
            embedding = self._whole(picture)
            told = [Hint()] * len(boxes) if hints is None else hints
            asked = [(boxes[row], config, self.counters, told[row]) for row in missing]
            masks = [segment_box(self.net, embedding, *each) for each in asked]
            return {"bits": np.packbits(np.stack(masks).reshape(len(masks), -1), axis=1)}

        if not len(boxes):
            return np.zeros((0, -(-picture.size[0] * picture.size[1] // 8)), np.uint8)
        key = content_key("organ", self.key, picture.key, config.multimask, config.threshold)
        rows = np.ascontiguousarray(boxes).view(np.uint8).reshape(len(boxes), -1)  # a box is its own key
        if hints is not None:
            rows = np.stack([_hinted(box, hint) for box, hint in zip(boxes, hints, strict=True)])
        bits: NDArray[np.uint8] = fetch_rows(self.store, Stage.organ, key, rows, decode)["bits"]
        return bits

    def answers(self, picture: Picture, boxes: NDArray[np.float32], multimask: bool, threshold: float) -> Answers:
        """Three masks for each usable box, float32 (n, 4), or one; logits above the threshold are organ."""

        def decode(missing: NDArray[np.int64]) -> Arrays:
            embedding = self._whole(picture)
            found = [
                segment_answers(self.net, embedding, boxes[row], multimask, threshold, self.counters) for row in missing
            ]
            bits = np.stack([np.packbits(masks.reshape(len(masks), -1), axis=1) for masks, _ in found])
            return {"bits": bits, "predicted_iou": np.stack([told for _, told in found])}

        if not len(boxes):
            return Answers(np.zeros((0, *picture.size), bool), np.zeros(0, np.float32))
        key = content_key("answers", self.key, picture.key, multimask, threshold)
        rows = np.ascontiguousarray(boxes).view(np.uint8).reshape(len(boxes), -1)
        kept = fetch_rows(self.store, Stage.organ, key, rows, decode)
        masks = [_unpacked(bits, picture.size) for each in kept["bits"] for bits in each]
        return Answers(np.stack(masks), kept["predicted_iou"].ravel())

    def pointed(
        self, picture: Picture, points: NDArray[np.float32], box: NDArray[np.float32] | None, config: OrganConfig
    ) -> NDArray[np.bool_]:
        """The one mask that SAM gives for points, and a usable box, as a `Hint` has them; nothing is kept."""
        return segment_box(self.net, self._whole(picture), box, config, self.counters, Hint(points))

    def unprompted(self, picture: Picture, config: OrganConfig) -> NDArray[np.bool_]:
        """The one mask that SAM gives without any prompt, bool (H, W)."""

        def decode() -> Arrays:
            return {"bits": np.packbits(segment_unprompted(self.net, self._whole(picture), config, self.counters))}

        key = content_key("unprompted", self.key, picture.key, config.threshold)
        return _unpacked(fetch(self.store, Stage.organ, key, decode)["bits"], picture.size)

    def _whole(self, picture: Picture) -> Embedding:
        """The embedding of the whole image: layer 0 of every plan, so that both of SAM's modes share it."""
        if self._latest is None or self._latest[0] != picture.key:
            self._embeddings(picture, crop_plan(picture.size))
        assert self._latest is not None  # the plan's layer is 0
        return self._latest[1]

    def _embeddings(self, picture: Picture, layer: _Layer) -> list[Embedding]:
        def encode() -> Arrays:
            encoded = embed_crops(self.net, picture.image, layer, self.counters, self._limits)
            features = torch.cat([each.features for each in encoded]).cpu()
            require_finite(extent(features), "SAM's embeddings of the image")
            return {"features": features.numpy()}

        key = content_key("embedding", self.key, picture.key, [crop.box for crop in layer])
        features = torch.tensor(fetch(self.store, Stage.embedding, key, encode)["features"], device=self.net.device)
        embeddings = [
            Embedding(each[None], crop.box, crop.layer, input_size_of(self.net, crop), picture.size)
            for each, crop in zip(features, layer, strict=True)
        ]
        if layer[0].layer == 0:  # the picture at hand needs it once more, for its boxes, whatever the store keeps
            self._latest = picture.key, embeddings[0]
        return embeddings

    def _table(self, picture: Picture, layer: _Layer, sampling: Sampling, floor: Floor) -> list[Candidates]:
        """The candidates of each crop box of a layer."""

        def decode() -> Arrays:
            embeddings = self._embeddings(picture, layer)
            parts = [candidates(self.net, each, sampling, self.counters, floor, self._limits) for each in embeddings]
            return _stored(joined(picture.size, parts), [len(part) for part in parts])

        settings = sampling.points_per_batch, sampling.stability_score_offset
        boxes = [crop.box for crop in layer]
        key = content_key("table", self.key, picture.key, boxes, sampling.grids[layer[0].layer], *settings)
        return _restored(fetch(self.store, Stage.table, key, decode), picture.size, len(layer))

    def _cleaned(self, picture: Picture, masks: Masks, min_area: int) -> Cleaned:
        """Masks without small regions. Whether a mask has any is kept of all; its bits only if it had."""
        fresh: dict[int, NDArray[np.bool_]] = {}

        def look(missing: NDArray[np.int64]) -> Arrays:
            changed = np.zeros(len(missing), dtype=bool)
            for position, row in enumerate(missing.tolist()):
                mask, changed[position] = clean_mask(masks[row], min_area)
                if changed[position]:
                    fresh[row] = mask
            return {"changed": changed}

        def mend(missing: NDArray[np.int64]) -> Arrays:
            rows = dirty[missing].tolist()
            mended = [fresh[row] if row in fresh else clean_mask(masks[row], min_area)[0] for row in rows]
            return {"bits": np.stack([np.packbits(mask) for mask in mended])}

        digests = masks.digests
        changed = fetch_rows(self.store, Stage.clean, content_key("changed", picture.key, min_area), digests, look)[
            "changed"
        ]
        dirty = np.flatnonzero(changed)
        if not len(dirty):
            return Cleaned(masks, changed)
        bits = fetch_rows(self.store, Stage.clean, content_key("cleaned", picture.key, min_area), digests[dirty], mend)[
            "bits"
        ]
        return Cleaned(_replaced(masks, dirty, bits), changed)


def _replaced(masks: Masks, rows: NDArray[np.int64], bits: NDArray[np.uint8]) -> Masks:
    """The masks, those of the given rows replaced by others given as bits of the whole frame."""
    mended = pack(np.stack([_unpacked(each, masks.shape) for each in bits]))
    both = concatenate(masks.shape, [masks, mended])
    order = np.arange(len(masks))
    order[rows] = len(masks) + np.arange(len(rows))
    return both.select(order)


def _hinted(box: NDArray[np.float32], hint: Hint) -> NDArray[np.uint8]:
    """The row key of a box with what is told beside it, uint8 (16,)."""
    key = content_key("hinted", box, hint.points, np.zeros(0, bool) if hint.mask is None else hint.mask)
    return np.frombuffer(bytes.fromhex(key)[:DIGEST_BYTES], np.uint8)


def _unpacked(bits: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=size[0] * size[1]).view(bool).reshape(size)


def _stored(table: Candidates, counts: Sequence[int]) -> Arrays:
    arrays = {name: getattr(table, name) for name in ARRAYS}
    masks = {"windows": table.masks.windows, "starts": table.masks.starts, "bits": table.masks.bits}
    return {**arrays, **masks, "crop": np.repeat(np.arange(len(counts)), counts)}


def _restored(arrays: Arrays, size: tuple[int, int], crops: int) -> list[Candidates]:
    masks = Masks(size, arrays["windows"], arrays["starts"], arrays["bits"])
    table = Candidates(**{name: arrays[name] for name in ARRAYS}, masks=masks)
    return [table.select(np.flatnonzero(arrays["crop"] == crop)) for crop in range(crops)]
