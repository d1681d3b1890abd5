"""A promptable network of transformers gives the masks that the library's own pipeline and processor give."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from salip_exp.cascade.embedding import decode, embed
from salip_exp.cascade.everything import MaskGenerator
from salip_exp.cascade.organ import Hint, _framed, _low, _placed, segment_box, segment_unprompted
from salip_exp.cascade.work import Counters
from salip_exp.config import OrganConfig, SamConfig
from salip_exp.errors import WeightsError
from salip_exp.networks.sam import LoadedSam, load_sam
from tests.networks.folders import SAMS, VIDEOS, sam_folder, transformers_folder, video_folder

pytestmark = pytest.mark.ci
CPU = torch.device("cpu")
CLASSES = {"sam": "SamModel", "sam_hq": "SamHQModel", "sam2": "Sam2Model", "sam3_tracker": "Sam3TrackerModel"}
PROCESSORS = {
    "sam": "SamProcessor",
    "sam_hq": "SamHQProcessor",
    "sam2": "Sam2Processor",
    "sam3_tracker": "Sam3TrackerProcessor",
}


def load(folder: Path) -> LoadedSam:
    return load_sam(SamConfig(name="medsam", weights=str(folder)), CPU, download=False)


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize("kind", SAMS)
def test_everything_is_what_the_pipeline_of_the_library_gives(kind: str, tmp_path: Path, transformers: Any) -> None:
    """On a square: for SAM 2 the library's pipeline puts points of other images where they do not belong."""
    folder, image = sam_folder(tmp_path / "net", kind), picture(48, 48)
    net = getattr(transformers, CLASSES[kind]).from_pretrained(folder)
    pipeline = transformers.pipelines.MaskGenerationPipeline(
        model=net, image_processor=transformers.AutoImageProcessor.from_pretrained(folder)
    )
    lowest = {"pred_iou_thresh": -1e9, "stability_score_thresh": -1}
    theirs = pipeline(Image.fromarray(image), points_per_batch=25, points_per_crop=5, crops_nms_thresh=1.0, **lowest)
    generator = MaskGenerator(
        load(folder).net, points_per_side=5, pred_iou_thresh=0, stability_score_thresh=0, box_nms_thresh=1.0
    )
    ours = generator.generate(image)
    assert len(ours) == len(theirs["masks"]) == 75
    np.testing.assert_allclose([each["predicted_iou"] for each in ours], theirs["scores"].numpy(), atol=1e-3)
    for mine, other in zip(ours, theirs["masks"], strict=True):
        np.testing.assert_array_equal(mine["segmentation"], np.asarray(other, bool))


@pytest.mark.parametrize("kind", SAMS)
def test_boxes_are_answered_as_by_the_processor_of_the_library(kind: str, tmp_path: Path, transformers: Any) -> None:
    folder, image = sam_folder(tmp_path / "net", kind), picture(40, 72)
    net = getattr(transformers, CLASSES[kind]).from_pretrained(folder)
    own = transformers.AutoImageProcessor.from_pretrained(folder)
    more = {"target_size": 64} if kind in ("sam2", "sam3_tracker") else {}
    processor = getattr(transformers, PROCESSORS[kind])(own, **more)
    sam, box = load(folder).net, np.float32([8, 6, 50, 31])
    embedding = embed(sam, image, Counters())[0]
    inputs = processor(images=Image.fromarray(image), input_boxes=[[box.tolist()]], return_tensors="pt")
    for multimask in (False, True):
        with torch.no_grad():
            answer = net(
                **{k: v for k, v in inputs.items() if k in ("pixel_values", "input_boxes")}, multimask_output=multimask
            )
        sizes = [inputs[each].tolist() for each in ("original_sizes", "reshaped_input_sizes") if each in inputs]
        masks = processor.post_process_masks(answer.pred_masks, *sizes)[0][0]
        expected = masks[int(answer.iou_scores[0, 0].argmax())].numpy()
        ours = segment_box(sam, embedding, box, OrganConfig(multimask=multimask), Counters())
        np.testing.assert_array_equal(ours, expected)
    assert segment_unprompted(sam, embedding, OrganConfig(), Counters()).shape == (40, 72)


@pytest.mark.parametrize("kind", SAMS)
def test_points_and_masks_are_heard_beside_a_box(kind: str, tmp_path: Path, transformers: Any) -> None:
    """A point beside the organ is none on it, and neither point nor mask is dropped."""
    sam, image, box = load(sam_folder(tmp_path / "net", kind)).net, picture(40, 72), np.float32([8, 6, 50, 31])
    embedding, half = embed(sam, image, Counters())[0], np.zeros((40, 72), bool)
    half[:, :36] = True
    hints = [Hint(), *(Hint(np.float32([[20, 20, label]])) for label in (0, 1)), Hint(mask=half)]
    prompts = [
        decode(sam, embedding, True, _framed(sam, embedding, box), *_told(sam, embedding, hint))[0] for hint in hints
    ]
    assert not any(torch.equal(*pair) for pair in combinations(prompts, 2))
    for hint in hints:
        assert segment_box(sam, embedding, box, OrganConfig(), Counters(), hint).shape == (40, 72)


def _told(sam: Any, embedding: Any, hint: Hint) -> tuple:
    points = _placed(sam, embedding, hint.points) if len(hint.points) else None
    return points, None if hint.mask is None else _low(sam, embedding, hint.mask)


@pytest.mark.parametrize("boxed", [False, True])
@pytest.mark.parametrize("kind", SAMS)
def test_points_and_a_box_are_answered_as_by_the_library(
    kind: str, boxed: bool, tmp_path: Path, transformers: Any
) -> None:
    """Points beside the organ count as such, and a box beside points counts."""
    folder, image = sam_folder(tmp_path / "net", kind), picture(64, 64)
    net = getattr(transformers, CLASSES[kind]).from_pretrained(folder)
    own = transformers.AutoImageProcessor.from_pretrained(folder)
    sam = load(folder).net
    points, box = np.float32([[8, 6, 1], [50, 31, 0], [20, 40, 1]]), np.float32([8, 6, 50, 31])
    embedding = embed(sam, image, Counters())[0]
    side = sam.image_encoder.img_size / 64
    asked = {"input_points": torch.tensor(points[None, None, :, :2] * side)}
    asked["input_labels"] = torch.tensor(points[None, None, :, 2]).int()
    asked |= {"input_boxes": torch.tensor(box[None, None] * side)} if boxed else {}
    pixels = own(images=Image.fromarray(image), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        answer = net(pixel_values=pixels, **asked, multimask_output=True)
    framed = torch.tensor(box[None] * side) if boxed else None
    prompt = asked["input_points"][0], asked["input_labels"][0]
    low, iou = decode(sam, embedding, True, framed, prompt)
    torch.testing.assert_close(low, answer.pred_masks[0])
    torch.testing.assert_close(iou, answer.iou_scores[0])
    others = decode(sam, embedding, True, framed, (prompt[0], torch.ones_like(prompt[1])))[0]
    assert not torch.equal(low, others)
    organ = OrganConfig(multimask=True)
    found = segment_box(sam, embedding, box if boxed else None, organ, Counters(), Hint(points))
    assert found.shape == (64, 64)


@pytest.mark.parametrize("kind", VIDEOS)
def test_of_a_network_for_videos_the_part_that_answers_prompts_is_taken_whole(
    kind: str, tmp_path: Path, transformers: Any
) -> None:
    """Every tensor is that of the file, which has the encoder of SAM 3 with its detector, and none is left random."""
    written = video_folder(tmp_path / "net", kind)
    sam = load(tmp_path / "net").net
    found = sam.mask_decoder.net.state_dict()
    for name, tensor in found.items():
        told = f"tracker_model.{name}" if kind == "sam3_video" else name
        told = told.replace("tracker_model.vision_encoder.backbone.", "detector_model.vision_encoder.backbone.")
        torch.testing.assert_close(tensor, written[told.replace("tracker_model.vision_encoder.neck.", "tracker_neck.")])
    assert type(sam.mask_decoder.net).__name__ == ("Sam2Model" if kind == "sam2_video" else "Sam3TrackerModel")
    embedding = embed(sam, picture(40, 72), Counters())[0]
    assert segment_box(sam, embedding, np.float32([8, 6, 50, 31]), OrganConfig(), Counters()).shape == (40, 72)


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="describes a network of the kind 'clip', and SAM's kinds are sam, sam_hq"):
        load(transformers_folder(tmp_path / "net", "clip"))
