"""Segment-everything mode gives what the reference gives, to the bit and in the same order."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, sam_model_registry

from salip_exp.cascade import candidates as candidates_module
from salip_exp.cascade.candidates import Sampling, _upscale_rows, candidates
from salip_exp.cascade.embedding import Embedding, embed
from salip_exp.cascade.everything import (
    MaskGenerator,
    Thresholds,
    point_grids,
    pool_of,
    sampling_of,
    select,
    thresholds_of,
)
from salip_exp.cascade.packing import _pack_on_device
from salip_exp.cascade.pool import Pool
from salip_exp.cascade.work import Counters
from salip_exp.config import SamConfig
from salip_exp.errors import ConfigError

PERMISSIVE = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}


def reference_records(net, image, settings) -> list[dict[str, Any]]:
    """What the reference returns; an empty list where it raises because no mask survived in any crop."""
    try:
        return SamAutomaticMaskGenerator(net, **settings).generate(image)
    except IndexError:
        return []


def assert_same(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert len(ours) == len(theirs)
    for mine, other in zip(ours, theirs, strict=True):
        assert list(mine) == list(other)
        for name in mine:
            np.testing.assert_array_equal(mine[name], other[name], err_msg=name)


def pool_from(net, image, config: SamConfig, counters: Counters) -> Pool:
    embeddings = embed(net, image, counters, config.crop_n_layers)
    table = [candidates(net, each, sampling_of(config), counters) for each in embeddings]
    return pool_of(select(table, thresholds_of(config)))


def random_image(rng: np.random.Generator) -> np.ndarray:
    height, width = rng.integers(40, 170, 2)
    coarse = rng.integers(0, 255, (5, 5, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((34, 34, 1), np.uint8))[:height, :width]


def scene(rng: np.random.Generator) -> np.ndarray:
    """Smooth discs on a noisy ground, of any size and aspect."""
    height, width = rng.integers(48, 200, 2)
    y, x = np.mgrid[:height, :width]
    grey = rng.normal(60, 10, (height, width))
    for _ in range(4):
        cy, cx, radius = rng.integers(0, height), rng.integers(0, width), rng.integers(10, 60)
        grey[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] += rng.integers(20, 100)
    return np.repeat(np.clip(cv2.GaussianBlur(grey, (0, 0), 1.5), 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def random_settings(rng: np.random.Generator) -> dict[str, Any]:
    layers = int(rng.integers(0, 3))
    settings = {
        "points_per_side": int(rng.integers(4, 8)),
        "points_per_batch": int(rng.integers(1, 40)),
        "pred_iou_thresh": float(rng.choice([0.0, 0.2, 0.5, 0.8])),
        "stability_score_thresh": float(rng.choice([0.0, 0.3, 0.6, 0.9])),
        "stability_score_offset": float(rng.choice([0.0, 0.5, 1.0])),
        "box_nms_thresh": float(rng.choice([0.2, 0.5, 0.7, 1.0])),
        "crop_n_layers": layers,
        "crop_nms_thresh": float(rng.choice([0.2, 0.5, 0.7, 1.0])),
        "crop_overlap_ratio": float(rng.choice([0.0, 0.2, 512 / 1500])),
        "crop_n_points_downscale_factor": int(rng.integers(1, 3)),
        "min_mask_region_area": int(rng.choice([0, 5, 50, 500])),
        "output_mode": str(rng.choice(["binary_mask", "binary_mask", "uncompressed_rle", "coco_rle"])),
    }
    if rng.random() < 0.2:
        settings["points_per_side"] = None
        settings["point_grids"] = [rng.random((int(rng.integers(1, 12)), 2)) for _ in range(layers + 1)]
    return settings


@pytest.mark.parametrize("seed", range(60))
def test_random_settings_equal_the_reference(blob_sam, seed):
    rng = np.random.default_rng(seed)
    image, settings = random_image(rng), random_settings(rng)
    theirs = reference_records(blob_sam, image, settings)
    assert_same(MaskGenerator(blob_sam, **settings).generate(image), theirs)


@pytest.mark.parametrize("seed", [pytest.param(n, marks=[pytest.mark.slow] * (n >= 20)) for n in range(60)])
def test_random_settings_and_sizes_equal_the_reference_with_the_embedded_weights(embedded_sam, seed):
    """Real masks of real weights, from the whole image and from crops."""
    rng = np.random.default_rng(1000 + seed)
    settings = random_settings(rng)
    settings["crop_n_layers"] = min(1, settings["crop_n_layers"])
    settings["points_per_batch"] = int(rng.choice([3, 4, 7, 16, 64]))
    if settings["points_per_side"] is not None:
        settings["points_per_side"] = int(rng.integers(2, 5))
    settings["pred_iou_thresh"] = float(rng.choice([0.0, 0.2, 0.5, 0.7]))
    image = scene(rng)
    theirs = reference_records(embedded_sam, image, settings)
    assert_same(MaskGenerator(embedded_sam, **settings).generate(image), theirs)


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "layers", "batch"), [((256, 256), 0, 64), ((173, 256), 0, 3), ((120, 90), 1, 64)])
def test_random_vit_b_equals_the_reference(shape, layers, batch):
    torch.manual_seed(2)
    net = sam_model_registry["vit_b"]().eval()
    image = cv2.resize(scene(np.random.default_rng(layers)), shape[::-1])
    settings = PERMISSIVE | {"points_per_side": 4, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}
    settings |= {"crop_n_layers": layers, "crop_n_points_downscale_factor": 2, "points_per_batch": batch}
    theirs = reference_records(net, image, settings)
    assert len(theirs) > 10
    assert_same(MaskGenerator(net, **settings).generate(image), theirs)


@pytest.mark.parametrize(("layers", "batch"), [(0, 5), (1, 64)])
def test_real_network_classes_equal_the_reference(random_sam, layers, batch):
    image = random_image(np.random.default_rng(layers))
    settings = PERMISSIVE | {"points_per_side": 3, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0}
    settings |= {"crop_n_layers": layers, "points_per_batch": batch}
    theirs = reference_records(random_sam, image, settings)
    assert len(theirs) > 3
    assert_same(MaskGenerator(random_sam, **settings).generate(image), theirs)


def test_more_boxes_than_one_suppression_takes_equal_the_reference(blob_sam, picture):
    """Above 1000 boxes torchvision suppresses by another path, with another order of ties."""
    settings = PERMISSIVE | {"points_per_side": 20, "box_nms_thresh": 1.0, "crop_nms_thresh": 1.0, "crop_n_layers": 1}
    settings["crop_n_points_downscale_factor"] = 4
    theirs = reference_records(blob_sam, picture, settings)
    assert len(theirs) > 1000
    assert_same(MaskGenerator(blob_sam, **settings).generate(picture), theirs)


def test_the_stub_gives_pools_worth_comparing(blob_sam, picture):
    """Guards the tests above: many masks, from crops too, some empty and some cleaned."""
    settings = {"points_per_side": 8, "crop_n_layers": 1, "pred_iou_thresh": 0.0}
    records = MaskGenerator(blob_sam, **settings, stability_score_thresh=0.0, box_nms_thresh=1.0).generate(picture)
    assert len(records) > 100
    assert any(record["crop_box"] != [0, 0, 128, 96] for record in records)
    assert any(record["area"] == 0 and np.isnan(record["stability_score"]) for record in records)
    cleaned = MaskGenerator(blob_sam, **settings, stability_score_thresh=0.3, min_mask_region_area=40)
    raw = MaskGenerator(blob_sam, **settings, stability_score_thresh=0.3)
    assert {record["area"] for record in cleaned.generate(picture)} - {r["area"] for r in raw.generate(picture)}


def test_thresholds_compare_in_single_precision_as_the_reference_does(blob_sam, picture):
    settings = PERMISSIVE | {"points_per_side": 5, "box_nms_thresh": 1.0}
    middle = MaskGenerator(blob_sam, **settings).generate(picture)[20]
    for name, key in [("pred_iou_thresh", "predicted_iou"), ("stability_score_thresh", "stability_score")]:
        for threshold in (middle[key], np.nextafter(middle[key], 1), np.nextafter(middle[key], 0)):
            exact = settings | {name: float(threshold)}
            theirs = reference_records(blob_sam, picture, exact)
            assert_same(MaskGenerator(blob_sam, **exact).generate(picture), theirs)


@pytest.mark.parametrize("threads", [1, 2])
def test_upscaled_logits_have_the_reference_bits_whatever_rows_are_left(random_sam, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        embedding = Embedding(torch.zeros(0), (10, 0, 99, 70), 1, (201, 256), (70, 120))
        low = torch.randn(4, 4, 64, 64, generator=torch.Generator().manual_seed(0))[:, 1:]
        expected = random_sam.postprocess_masks(low, (201, 256), (70, 89)).flatten(0, 1)
        for rows in ([5], [0, 11], [1, 3, 4, 8, 9], list(range(12))):
            assert torch.equal(_upscale_rows(random_sam, low.flatten(0, 1)[rows], embedding), expected[rows])
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("budget", [1, 10 * 4 * 128 * 128])
def test_chunks_do_not_change_the_table(blob_sam, picture, monkeypatch, budget):
    embedding = embed(blob_sam, picture, Counters())[0]
    whole = candidates(blob_sam, embedding, Sampling(point_grids(5, 0, 1), 25, 1.0), Counters())
    monkeypatch.setattr(candidates_module, "_BYTES", {"cpu": budget})
    chunked = candidates(blob_sam, embedding, Sampling(point_grids(5, 0, 1), 4, 1.0), Counters())
    for name in candidates_module.ARRAYS:
        np.testing.assert_array_equal(getattr(whole, name), getattr(chunked, name))
    np.testing.assert_array_equal(whole.masks.dense(), chunked.masks.dense())


@pytest.mark.parametrize("held", [1, 40_000, 10**9])
@pytest.mark.parametrize("seed", range(4))
def test_what_a_gpu_would_do_equals_the_reference(blob_sam, monkeypatch, held, seed):
    """Masks packed by tensor operations, many batches measured together: run on the CPU, to the reference's bits."""
    rng = np.random.default_rng(seed)
    image, settings = random_image(rng), random_settings(rng)
    expected = reference_records(blob_sam, image, settings)
    monkeypatch.setattr(candidates_module, "_HELD", {"cpu": held})
    monkeypatch.setattr(candidates_module, "hold", _pack_on_device)
    assert_same(MaskGenerator(blob_sam, **settings).generate(image), expected)


def test_masks_of_too_low_a_predicted_iou_are_not_upscaled(blob_sam, picture, monkeypatch):
    settings = {"points_per_side": 6, "pred_iou_thresh": 0.5, "stability_score_thresh": 0.3, "points_per_batch": 8}
    passing = len(
        MaskGenerator(blob_sam, **settings | {"stability_score_thresh": 0.0, "box_nms_thresh": 1.0}).generate(picture)
    )
    upscaled = []
    monkeypatch.setattr(
        candidates_module,
        "_upscale_rows",
        lambda net, low, at: upscaled.append(len(low)) or _upscale_rows(net, low, at),
    )
    MaskGenerator(blob_sam, **settings).generate(picture)
    assert 0 < passing <= sum(upscaled) < 3 * 36


def test_one_table_serves_every_threshold(blob_sam, picture):
    """A sweep decodes once: selecting from the full table equals a generator of its own per trial."""
    counters = Counters()
    embeddings = embed(blob_sam, picture, counters, crop_n_layers=1)
    sampling = Sampling(point_grids(6, 1, 2), 64, 1.0)
    table = [candidates(blob_sam, each, sampling, counters) for each in embeddings]
    rng = np.random.default_rng(0)
    for _ in range(6):
        trial = {
            "pred_iou_thresh": float(rng.choice([0.0, 0.3, 0.6])),
            "stability_score_thresh": float(rng.choice([0.0, 0.3, 0.6])),
            "box_nms_thresh": float(rng.choice([0.3, 0.7])),
            "crop_nms_thresh": float(rng.choice([0.3, 0.7])),
            "min_mask_region_area": int(rng.choice([0, 30])),
        }
        grid = {"points_per_side": 6, "crop_n_layers": 1, "crop_n_points_downscale_factor": 2}
        theirs = reference_records(blob_sam, picture, trial | grid)
        selection = select(table, Thresholds(**trial))
        assert len(selection) == len(theirs) > 0
        for mask, record in zip(selection.masks, theirs, strict=True):
            np.testing.assert_array_equal(mask, record["segmentation"])
    assert counters.encoder_calls == 5
    assert counters.decoded_points == 36 + 4 * 9


@pytest.mark.parametrize("layers", [0, 1])
@pytest.mark.parametrize("min_area", [0, 50])
@pytest.mark.fault("P1")
def test_nothing_survives_gives_an_empty_pool(blob_sam, picture, layers, min_area):
    settings = {"points_per_side": 3, "pred_iou_thresh": 1.0, "crop_n_layers": layers, "min_mask_region_area": min_area}
    assert MaskGenerator(blob_sam, **settings).generate(picture) == []
    pool = pool_from(blob_sam, picture, SamConfig(name="stub", **settings), Counters())
    assert len(pool) == 0
    assert pool.masks.dense().shape == (0, 96, 128)
    assert pool.boxes.shape == (0, 4)


def test_pool_matches_the_records(blob_sam, picture):
    settings = {"points_per_side": 6, "pred_iou_thresh": 0.2, "stability_score_thresh": 0.3, "crop_n_layers": 1}
    counters = Counters()
    pool = pool_from(blob_sam, picture, SamConfig(name="stub", **settings), counters)
    records = MaskGenerator(blob_sam, **settings).generate(picture)
    assert len(pool) == len(records) > 5
    np.testing.assert_array_equal(pool.ids, np.arange(len(pool)))
    np.testing.assert_array_equal(pool.masks.dense(), [record["segmentation"] for record in records])
    np.testing.assert_array_equal(pool.areas, [record["area"] for record in records])
    boxes = [[x, y, x + w, y + h] for x, y, w, h in (record["bbox"] for record in records)]
    np.testing.assert_array_equal(pool.boxes, np.float32(boxes))
    assert counters.to_dict()["encoder_calls"] == 5
    assert counters.decoded_points == 5 * 36


@pytest.mark.fault("C2")
def test_a_layer_without_points_is_refused():
    with pytest.raises(ConfigError, match="it must be at least 4"):
        point_grids(3, 2, 2)


def test_contradictory_grids_are_refused(blob_sam):
    with pytest.raises(ConfigError, match="exactly one"):
        MaskGenerator(blob_sam, point_grids=[np.zeros((1, 2))])
    with pytest.raises(ConfigError, match="needs 2"):
        MaskGenerator(blob_sam, points_per_side=None, point_grids=[np.zeros((1, 2))], crop_n_layers=1)
    with pytest.raises(ConfigError, match="output_mode"):
        MaskGenerator(blob_sam, output_mode="png")


def test_generator_leaves_no_gradients(blob_sam, picture):
    embedding = embed(blob_sam, picture, Counters())[0]
    assert not embedding.features.requires_grad
    assert torch.is_grad_enabled()
