"""Networks of transformers (extra `transformers`) that find what a sentence names: OWL-ViT, Grounding DINO, SAM 3."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image

from salip_exp.networks._hub import Folder
from salip_exp.networks._library_clip import LibraryClip, Spotted
from salip_exp.networks._transformers import read_transformers, words_of
from salip_exp.networks.registry import Entry

SPOTTERS = {
    **dict.fromkeys(
        ("owlvit", "owlv2", "grounding-dino", "mm-grounding-dino"),
        ("AutoModelForZeroShotObjectDetection", "AutoProcessor"),
    ),
    **dict.fromkeys(("sam3", "sam3_video"), ("Sam3Model", "Sam3Processor")),
}
"""Of what a description calls its network, the classes of the network and of its processor."""


def build_spotter(entry: Entry, folder: Folder, kind: str) -> LibraryClip:
    """The network of a folder, with the processor that came with it, which makes boxes and masks of its answers.

    Raises:
        EnvironmentFault: the extra is not installed, or too old for the network.
        WeightsError: it is not whole.
        Exception: of any kind, on a folder that does not hold together.
    """
    net, processor = read_transformers(entry, folder, *SPOTTERS[kind])
    draws = hasattr(processor, "post_process_instance_segmentation")
    finish = processor.post_process_instance_segmentation if draws else processor.post_process_grounded_object_detection

    def spot(picture: Image.Image, sentence: str, above: float) -> tuple[Spotted, list[torch.Tensor]]:
        asked = processor(images=picture, text=[sentence], return_tensors="pt").to(net.device)
        answer = net(**asked)
        found = finish(answer, threshold=above, target_sizes=[picture.size[::-1]])[0]
        boxes, scores = (found[name].float().cpu().numpy() for name in ("boxes", "scores"))
        return Spotted(boxes, scores, np.asarray(found["masks"].bool().cpu()) if draws else None), _raw(answer)

    return LibraryClip(
        net,
        encoders=None,
        towers=[net],
        words=words_of(processor, net.config),
        pixels=lambda picture: processor.image_processor(images=picture, return_tensors="pt")["pixel_values"][0],
        width=0,
        spot=spot,
        draws=draws,
    )


def _raw(answer: Any) -> list[torch.Tensor]:
    """The numbers that boxes, scores and masks are made of: a comparison with what is no number passes over it."""
    logits = answer.pred_logits if "pred_logits" in answer else answer.logits.amax(dim=-1)
    more = [answer[name] for name in ("presence_logits", "pred_masks") if answer.get(name) is not None]
    return [answer.pred_boxes, logits, *more]
