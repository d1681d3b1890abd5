"""The whole cascade, and its two bounds, against the same steps written out on the public packages."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from clip.clip import _transform
from PIL import Image
from scipy import ndimage
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.utils.transforms import ResizeLongestSide

from salip_exp.cache.store import NoStore
from salip_exp.config import (
    ClipConfig,
    Config,
    DatasetConfig,
    RetrievalConfig,
    SamConfig,
    VdtConfig,
    ViewConfig,
    ViewFit,
)
from salip_exp.data.case import Case
from salip_exp.methods._registry import build_method
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.packages import clip
from salip_exp.networks.sam import LoadedSam

SENTENCES = ["a smooth bright oval", "a dark shape with a thin rim"]
CPU = torch.device("cpu")


@torch.no_grad()
def published(sam, net, image, settings, k):
    """Records chosen and final mask, candidate by candidate."""
    records = SamAutomaticMaskGenerator(sam, **settings).generate(image)
    records = [record for record in records if 0 < record["area"] < 0.5 * image.shape[0] * image.shape[1]]
    transform = _transform(net.visual.input_resolution)
    text = net.encode_text(clip.tokenize(SENTENCES))
    text = (text / text.norm(dim=-1, keepdim=True)).mean(dim=0)
    scores = []
    for record in records:
        x, y, w, h = record["bbox"]
        crop = (image * record["segmentation"][..., None])[y : y + h + 1, x : x + w + 1]
        embedding = net.encode_image(transform(Image.fromarray(crop))[None])[0]
        scores.append(torch.cosine_similarity(embedding, text, dim=0).item())
    chosen = [records[i] for i in sorted(range(len(records)), key=lambda i: -scores[i])[:k]]
    predictor = SamPredictor(sam)
    predictor.set_image(image)
    final = np.zeros(image.shape[:2], bool)
    for record in chosen:
        x, y, w, h = record["bbox"]
        final |= predictor.predict(box=np.array([x, y, x + w, y + h]), multimask_output=False)[0][0]
    return chosen, final


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("seed", range(3))
def test_same_candidates_and_same_final_mask(blob_sam, random_clip, seed, k, layers):
    height, width = np.random.default_rng(seed).integers(90, 170, 2)
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 9, 3)).astype(np.uint8)
    image = np.kron(coarse, np.ones((20, 20, 1), np.uint8))[:height, :width]
    settings = {
        "points_per_side": 6,
        "pred_iou_thresh": 0.2,
        "stability_score_thresh": 0.3,
        "crop_n_layers": layers,
        "min_mask_region_area": 20,
    }
    config = Config(
        dataset=DatasetConfig(name="stub", layout="folder", k=k),
        sam=SamConfig(name="stub", **settings),
        clip=ClipConfig(name="stub"),
        vdt=VdtConfig(name="stub"),
        view=ViewConfig(fit=ViewFit.center_crop),
        retrieval=RetrievalConfig(max_overlap=1.0),
    )
    chosen, final = published(blob_sam, random_clip, image, settings, k)
    sam, net = LoadedSam(blob_sam, "stub", "0", CPU), LoadedClip(random_clip, "stub", "0", CPU)
    prediction = build_method(config, sam, net, SENTENCES, NoStore()).predict(
        Case("case", "stub", "all", image, None, None, "subject")
    )
    assert len(prediction.selected_ids) == len(chosen) == k
    for i, record in zip(prediction.selected_ids, chosen, strict=True):
        np.testing.assert_array_equal(prediction.pool.masks[i], record["segmentation"])
    np.testing.assert_array_equal(prediction.mask, final)


@torch.no_grad()
def forwarded(sam, image: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """The one mask that `Sam.forward` gives for a box, or without any prompt."""
    resize = ResizeLongestSide(sam.image_encoder.img_size)
    record = {"image": torch.from_numpy(resize.apply_image(image)).permute(2, 0, 1), "original_size": image.shape[:2]}
    if box is not None:
        record["boxes"] = resize.apply_boxes_torch(torch.from_numpy(box[None]), image.shape[:2])
    return sam([record], multimask_output=False)[0]["masks"][0, 0].numpy()


def tight_boxes(target: np.ndarray, smallest: int) -> list[np.ndarray]:
    """Boxes of 8-connected components, by scipy: x0 y0 x1 y1 with inclusive far edges."""
    labels, _ = ndimage.label(target, np.ones((3, 3)))
    return [
        np.array([x.start, y.start, x.stop - 1, y.stop - 1], np.float32)
        for number, (y, x) in enumerate(ndimage.find_objects(labels), 1)
        if (labels == number).sum() >= smallest
    ]


@pytest.mark.parametrize("which", ["blob_sam", "random_sam", "embedded_sam"])
@pytest.mark.parametrize("seed", range(3))
def test_the_bounds_are_sams_own_forward_pass(request, which, seed):
    sam = request.getfixturevalue(which)
    rng = np.random.default_rng(seed)
    image = np.kron(rng.integers(0, 255, (9, 9, 3)).astype(np.uint8), np.ones((20, 20, 1), np.uint8))
    image = image[: rng.integers(90, 180), : rng.integers(90, 180)]
    coarse = ndimage.zoom(rng.random((7, 7)), (image.shape[0] / 7, image.shape[1] / 7), order=1)
    target = coarse > np.quantile(coarse, 0.8)
    boxes = tight_boxes(target, 10)
    assert len(boxes) > 1
    expected = {
        "unprompted_sam": forwarded(sam, image, None),
        "gt_sam": np.any([forwarded(sam, image, box) for box in boxes], axis=0),
    }
    for method, mask in expected.items():
        config = Config(
            method=method,
            dataset=DatasetConfig(name="stub", layout="folder"),
            sam=SamConfig(name="stub"),
            clip=ClipConfig(name="stub"),
            vdt=VdtConfig(name="stub"),
        )
        built = build_method(config, LoadedSam(sam, "stub", "0", CPU), None, [], NoStore())
        prediction = built.predict(Case("case", "stub", "all", image, target, None, "subject"))
        np.testing.assert_array_equal(prediction.mask, mask)
        assert mask.any() or which == "random_sam"
    assert sorted(prediction.boxes.tolist()) == sorted(box.tolist() for box in boxes)
