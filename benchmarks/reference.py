"""The cascade as published pipelines do it, on the public packages: nothing is kept from one call to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from clip.clip import _transform
from clock import Times
from numpy.typing import NDArray
from PIL import Image

from salip_exp.cascade.pool import Pool
from salip_exp.config import Config, SamConfig
from salip_exp.networks.packages import CLIP, Sam, clip, segment_anything

Record = dict[str, Any]
NOT_THE_GENERATORS = ("name", "weights", "sha256")


@dataclass
class Published:
    """What a published pipeline finds in one image.

    Attributes:
        records: the whole pool, as `SamAutomaticMaskGenerator` gives it.
        mask: bool (H, W), the final mask.
        crops: candidates that CLIP was shown.
        sam, clip: seconds.
    """

    records: list[Record]
    mask: NDArray[np.bool_]
    crops: int = 0
    sam: Times = field(default_factory=Times)
    clip: Times = field(default_factory=Times)


@torch.no_grad()
def published(
    net: Sam, judge: CLIP | None, text: torch.Tensor | None, image: NDArray[np.uint8], config: Config
) -> Published:
    """Generate, filter by area, show every crop to CLIP, encode the image again for the box of the best.

    Args:
        judge: CLIP; None takes the largest candidate.
        text: of `prototype`.
    """
    found = Published([], np.zeros(image.shape[:2], bool))
    with found.sam.measured():
        found.records = generate(net, image, config.sam)
    kept = [each for each in found.records if fits(each, config, image.shape[:2])]
    found.crops = len(kept)
    with found.clip.measured():
        scores = [each["area"] for each in kept]
        if judge is not None and kept:
            assert text is not None
            scores = similarities(judge, text, image, kept, config)
    best = sorted(range(len(kept)), key=lambda i: -scores[i])[: config.dataset.k]
    with found.sam.measured():
        found.mask = prompted(net, image, [kept[i] for i in best]) if best else found.mask
    return found


def generate(net: Sam, image: NDArray[np.uint8], config: SamConfig) -> list[Record]:
    """Records of a new generator; none where it raises because no mask survives in any crop box."""
    settings = {name: value for name, value in asdict(config).items() if name not in NOT_THE_GENERATORS}
    try:
        records: list[Record] = segment_anything.SamAutomaticMaskGenerator(net, **settings).generate(image)
    except (IndexError, KeyError):
        return []
    return records


def fits(record: Record, config: Config, size: tuple[int, int]) -> bool:
    """Whether a candidate passes the area filter and has a picture to show."""
    limit = config.area.threshold * (size[0] * size[1] if config.area.unit == "fraction" else 1)
    extent = min(record["bbox"][2:]) if not config.view.inclusive else 1
    return record["area"] > 0 and extent > 0 and (record["area"] < limit or not config.area.enabled)


def similarities(
    judge: CLIP, text: torch.Tensor, image: NDArray[np.uint8], kept: Sequence[Record], config: Config
) -> list[float]:
    """CLIP's score of each masked crop."""
    transform = _transform(judge.visual.input_resolution)
    pixels = [transform(Image.fromarray(crop(image, each, config.view.inclusive))) for each in kept]
    batches = torch.stack(pixels).split(config.clip.batch_size)
    embeddings = torch.cat([judge.encode_image(batch) for batch in batches])
    scores: list[float] = torch.cosine_similarity(embeddings, text).tolist()
    return scores


def crop(image: NDArray[np.uint8], record: Record, inclusive: bool) -> NDArray[np.uint8]:
    """The candidate cut out of the image, black around it."""
    x, y, w, h = map(int, record["bbox"])  # the generator gives floats where a crop box had no mask
    return (image * record["segmentation"][..., None])[y : y + h + inclusive, x : x + w + inclusive]


def prompted(net: Sam, image: NDArray[np.uint8], chosen: Sequence[Record]) -> NDArray[np.bool_]:
    """The union of SAM's masks for the boxes, the image encoded anew."""
    predictor = segment_anything.SamPredictor(net)
    predictor.set_image(image)
    mask = np.zeros(image.shape[:2], bool)
    for record in chosen:
        x, y, w, h = record["bbox"]
        mask |= predictor.predict(box=np.array([x, y, x + w, y + h]), multimask_output=False)[0][0]
    return mask


@torch.no_grad()
def prototype(judge: CLIP, sentences: Sequence[str]) -> torch.Tensor:
    """The mean embedding of the sentences, (D,): `preset=paper`."""
    return judge.encode_text(clip.tokenize(list(sentences))).mean(dim=0)


def require_same(pool: Pool, mask: NDArray[np.bool_], found: Published) -> None:
    """Stop where the package's pool or final mask differs from the reference's in any bit."""
    assert len(pool) == len(found.records), f"{len(pool)} candidates, the reference has {len(found.records)}"
    for row, record in enumerate(found.records):
        x, y, w, h = record["bbox"]
        np.testing.assert_array_equal(pool.boxes[row], [x, y, x + w, y + h])
        np.testing.assert_array_equal(pool.masks[row], record["segmentation"])
        for name in ("predicted_iou", "stability"):
            theirs = record["stability_score" if name == "stability" else name]
            assert getattr(pool, name)[row].item() == theirs, (name, row)
    np.testing.assert_array_equal(mask, found.mask)
