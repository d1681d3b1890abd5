"""The pool: every candidate of one case, packed masks and row-aligned arrays that keep their identity; equation 2."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from salip_exp.config import AreaConfig, AreaUnit

Mask = NDArray[np.bool_]

DIGEST_BYTES = 16


@dataclass(frozen=True)
class Masks:
    """Binary masks of one image; `masks[i]` is one of them, bool (H, W).

    Attributes:
        shape: (H, W) of the image.
        windows: int32 (N, 4), top left height width of each mask's tight box; zeros for an empty mask.
        starts: int64 (N,), where in `bits` each mask begins.
        bits: uint8 (B,), the windows' rows one after the other, each row packed to whole bytes. `select` shares it.
    """

    shape: tuple[int, int]
    windows: NDArray[np.int32]
    starts: NDArray[np.int64]
    bits: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, row: int | np.integer) -> Mask:
        mask = np.zeros(self.shape, dtype=bool)
        top, left, height, width = self.windows[row].tolist()
        mask[top : top + height, left : left + width] = self.patch(row)
        return mask

    def __iter__(self) -> Iterator[Mask]:
        return (self[row] for row in range(len(self)))

    def patch(self, row: int | np.integer) -> Mask:
        """The mask inside its window, bool (height, width)."""
        height, width = self.windows[row, 2:].tolist()
        packed = self._packed(int(row)).reshape(height, -(-width // 8))
        return np.unpackbits(packed, axis=1, count=width).view(bool) if height else np.zeros((0, 0), bool)

    def window(self, row: int | np.integer) -> tuple[slice, slice]:
        """Rows and columns of the image that the patch covers."""
        top, left, height, width = self.windows[row].tolist()
        return slice(top, top + height), slice(left, left + width)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Masks:
        """The given rows (boolean keep mask, or positions in the wished order); no bit is copied."""
        return Masks(self.shape, self.windows[rows], self.starts[rows], self.bits)

    def dense(self) -> NDArray[np.bool_]:
        """All masks at full resolution, bool (N, H, W): for few of them, or for a small image."""
        return np.stack(list(self)) if len(self) else np.zeros((0, *self.shape), dtype=bool)

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels of each mask, int64 (N,)."""
        return np.array([np.bitwise_count(self._packed(row)).sum() for row in range(len(self))], dtype=np.int64)

    @property
    def boxes(self) -> NDArray[np.int64]:
        """Tight boxes, int64 (N, 4), x0 y0 x1 y1 with inclusive far edges; zeros for an empty mask."""
        top, left, height, width = self.windows.astype(np.int64).T
        inside = (height > 0).astype(np.int64)
        return np.stack([left, top, left + width - inside, top + height - inside], axis=1)

    @property
    def digests(self) -> NDArray[np.uint8]:
        """A hash of each mask, uint8 (N, 16): equal for equal masks of images of one shape."""
        raw = [
            blake2b(window.tobytes() + self._packed(row).tobytes(), digest_size=DIGEST_BYTES).digest()
            for row, window in enumerate(self.windows)
        ]
        return np.frombuffer(b"".join(raw), np.uint8).reshape(-1, DIGEST_BYTES)

    def intersections(self, region: Mask) -> NDArray[np.int64]:
        """Pixels that each mask has in common with a region (H, W), int64 (N,)."""
        both = [np.count_nonzero(self.patch(row) & region[self.window(row)]) for row in range(len(self))]
        return np.array(both, dtype=np.int64)

    def _packed(self, row: int) -> NDArray[np.uint8]:
        height, width = self.windows[row, 2:].tolist()
        start = int(self.starts[row])
        return self.bits[start : start + height * -(-width // 8)]


def pack(masks: NDArray[np.bool_]) -> Masks:
    """Pack masks bool (N, H, W)."""
    n, height, width = masks.shape
    whole = np.packbits(masks, axis=2)  # one eighth of the bytes: all that follows reads these
    windows = np.zeros((n, 4), np.int32)
    parts = []
    rows_used: NDArray[np.bool_] = (whole != 0).any(axis=2)
    columns_used = np.unpackbits(np.bitwise_or.reduce(whole, axis=1), axis=1, count=width)
    for row in np.flatnonzero(rows_used.any(axis=1)):
        ys, xs = np.flatnonzero(rows_used[row]), np.flatnonzero(columns_used[row])
        top, left, bottom, right = ys[0], xs[0], ys[-1] + 1, xs[-1] + 1
        windows[row] = top, left, bottom - top, right - left
        parts.append(np.packbits(masks[row, top:bottom, left:right], axis=1).ravel())
    return of_windows((height, width), windows, _joined(parts))


def place(masks: Masks, shape: tuple[int, int], top: int, left: int) -> Masks:
    """Masks of a crop in the frame of the whole image."""
    shift = np.where(masks.windows[:, 2:3] > 0, np.array([[top, left, 0, 0]], np.int32), np.int32(0))
    return Masks(shape, masks.windows + shift, masks.starts, masks.bits)


def concatenate(shape: tuple[int, int], parts: Sequence[Masks]) -> Masks:
    """The masks of all parts, in order, with no more bits than they need."""
    windows = np.concatenate([np.zeros((0, 4), np.int32), *(part.windows for part in parts)])
    rows = [part._packed(row) for part in parts for row in range(len(part))]
    return of_windows(shape, windows, _joined(rows))


def of_windows(shape: tuple[int, int], windows: NDArray[np.int32], bits: NDArray[np.uint8]) -> Masks:
    """Masks whose bits lie one after the other, in the order of their windows."""
    return Masks(shape, windows, _starts(windows), bits)


def mask_iou(first: Mask, second: Mask) -> float:
    """Intersection over union of two masks; 0 where both are empty."""
    union = int(np.logical_or(first, second).sum())
    return int(np.logical_and(first, second).sum()) / union if union else 0.0


def _starts(windows: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where masks begin that lie one after the other."""
    sizes = windows[:, 2].astype(np.int64) * -(-windows[:, 3].astype(np.int64) // 8)
    return np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)[: len(windows)]


def _joined(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.concatenate(parts) if parts else np.zeros(0, np.uint8)


@dataclass(frozen=True)
class Pool:
    """Candidates in the order segment-everything mode gave them; row i of every array is one candidate.

    Attributes:
        ids: int64 (N,), position in the full pool; kept by `select`, so that a crop never meets another's mask.
        masks: N masks, packed; `masks[i]` is bool (H, W).
        boxes: float32 (N, 4), x0 y0 x1 y1 with inclusive far edges, in pixels of the case.
        areas: int64 (N,), pixels.
        predicted_iou: float32 (N,), SAM's own estimate.
        stability: float32 (N,), stability score.
    """

    ids: NDArray[np.int64]
    masks: Masks
    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    predicted_iou: NDArray[np.float32]
    stability: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Pool:
        """The candidates of the given rows (boolean keep mask, or positions in the wished order)."""
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name != "masks"}
        return replace(self, **arrays, masks=self.masks.select(rows))


def candidate_ious(pool: Pool, rois: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every ROI (rows) with every candidate (columns): float64 (R, N), for ROIs bool (R, H, W)."""
    return mask_ious(pool.masks, pool.areas, rois)


def mask_ious(masks: Masks, areas: NDArray[np.int64], rois: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU of every ROI (rows) with every mask (columns), whose areas are known: float64 (R, N)."""
    rows = []
    for roi in rois:
        both = masks.intersections(roi)
        rows.append(both / (areas + roi.sum() - both))
    return np.stack(rows)


def keep_small(pool: Pool, config: AreaConfig) -> Pool:
    """Candidates whose area is strictly smaller than the threshold (a fraction of the image, or pixels)."""
    if not config.enabled:
        return pool
    height, width = pool.masks.shape
    pixels = config.threshold * height * width if config.unit == AreaUnit.fraction else config.threshold
    return pool.select(pool.areas < pixels)
