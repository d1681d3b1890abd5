"""What transformers' detectors and SAM 3 find by a sentence is what the library's own pipeline and processor give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from salip_exp.config import ClipConfig
from salip_exp.errors import ConfigError
from salip_exp.networks._library_clip import LibraryClip
from salip_exp.networks.clip import LoadedClip, load_clip
from tests.networks.folders import spotter_folder, video_folder

pytestmark = pytest.mark.ci
CPU = torch.device("cpu")
TEXT = "the skull"


def load(folder: Path) -> LoadedClip:
    return load_clip(ClipConfig("hf:me/net", weights=str(folder)), CPU, download=False)


def spotted(folder: Path, picture: Image.Image, above: float) -> Any:
    net = load(folder).net
    assert isinstance(net, LibraryClip) and net.spot is not None
    with torch.no_grad():
        return net.spot(picture, TEXT, above)[0]


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (40, 56, 3), np.uint8))


@pytest.mark.parametrize("kind", ["owlvit", "owlv2"])
def test_boxes_and_scores_are_those_of_the_pipeline(
    kind: str, tmp_path: Path, transformers: Any, picture: Image.Image
) -> None:
    folder = spotter_folder(tmp_path / "net", kind)
    theirs = transformers.pipeline("zero-shot-object-detection", model=str(folder))(picture, [TEXT], threshold=0.0)
    ours = spotted(folder, picture, 0.0)
    order = np.argsort(-ours.scores, kind="stable")
    assert len(ours.boxes) == len(theirs) == 16 and ours.masks is None
    np.testing.assert_allclose(ours.scores[order], [each["score"] for each in theirs], atol=1e-6)
    np.testing.assert_array_equal(ours.boxes[order].astype(int), [list(each["box"].values()) for each in theirs])
    middle = float(np.median(ours.scores))
    assert len(spotted(folder, picture, middle).scores) == (ours.scores > middle).sum()


def test_boxes_of_grounding_dino_are_those_of_its_processor(
    tmp_path: Path, transformers: Any, picture: Image.Image
) -> None:
    folder = spotter_folder(tmp_path / "net", "grounding-dino")
    net = transformers.GroundingDinoForObjectDetection.from_pretrained(folder)
    processor = transformers.GroundingDinoProcessor.from_pretrained(folder)
    inputs = processor(images=picture, text=f"{TEXT}.", return_tensors="pt")
    with torch.no_grad():
        (theirs,) = processor.post_process_grounded_object_detection(
            net(**inputs), inputs.input_ids, threshold=0.0, target_sizes=[(40, 56)]
        )
    ours = spotted(folder, picture, 0.0)
    assert len(ours.boxes) == 6
    np.testing.assert_array_equal(ours.boxes, theirs["boxes"].numpy())
    np.testing.assert_array_equal(ours.scores, theirs["scores"].numpy())


def test_masks_of_sam_3_are_those_of_its_processor(tmp_path: Path, transformers: Any, picture: Image.Image) -> None:
    folder = spotter_folder(tmp_path / "net", "sam3")
    net, processor = (getattr(transformers, name).from_pretrained(folder) for name in ("Sam3Model", "Sam3Processor"))
    inputs = processor(images=picture, text=TEXT, return_tensors="pt")
    with torch.no_grad():
        (theirs,) = processor.post_process_instance_segmentation(
            net(**inputs), threshold=0.0, target_sizes=inputs["original_sizes"].tolist()
        )
    ours = spotted(folder, picture, 0.0)
    assert ours.masks.shape == (8, 40, 56) and 0 < ours.masks.mean() < 1
    np.testing.assert_array_equal(ours.masks, theirs["masks"].numpy().astype(bool))
    np.testing.assert_array_equal(ours.boxes, theirs["boxes"].numpy())
    np.testing.assert_array_equal(ours.scores, theirs["scores"].numpy())


def test_it_embeds_nothing_and_says_so(tmp_path: Path) -> None:
    loaded = load(spotter_folder(tmp_path / "net", "owlv2"))
    assert loaded.logit is None
    with pytest.raises(ConfigError, match="embeds no pictures: method=grounded_sam asks it"):
        loaded.net.encode_text(loaded.net.tokens(TEXT))
    with pytest.raises(ConfigError, match="more than the 16 tokens"):
        loaded.net.tokens("a very long sentence of many letters")


def test_of_sam_3_for_videos_the_part_that_finds_by_text_is_taken_whole(
    tmp_path: Path, transformers: Any, picture: Image.Image
) -> None:
    """What the hub has under the name of SAM 3."""
    written = video_folder(tmp_path / "net", "sam3_video")
    net = load(tmp_path / "net").net
    assert isinstance(net, LibraryClip)
    (found,) = net.towers
    assert type(found).__name__ == "Sam3Model"
    for name, tensor in found.state_dict().items():
        torch.testing.assert_close(tensor, written[f"detector_model.{name}"])
    assert spotted(tmp_path / "net", picture, 0.0).masks.shape[1:] == (40, 56)
