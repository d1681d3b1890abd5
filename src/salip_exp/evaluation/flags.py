"""Why a case is flagged: the stage that is doubted, in words that a user can act on."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Stage(StrEnum):
    """What is doubted of a flagged case."""

    everything = "everything"
    retrieval = "retrieval"
    duplicate = "duplicate"
    prompt = "prompt"
    text = "text"


REASONS: Mapping[str, str] = {
    Stage.everything: "SAM is unsure of every candidate: more points (sam.points_per_side) or lower thresholds "
    "(sam.pred_iou_thresh, sam.stability_score_thresh) propose others",
    Stage.retrieval: "CLIP is torn between candidates: look which it took, and write sentences that tell them apart",
    Stage.duplicate: "a part is missing, or the two of the pair are unlike: look whether one was taken twice",
    Stage.prompt: "the mask changes when its box moves a little: look at its outline",
    Stage.text: "what was found looks no more like the text than like something else: is the organ in the image?",
}
"""By stage."""

STAGE_OF: Mapping[str, Stage] = {
    "predicted_iou": Stage.everything,
    "shape": Stage.everything,
    "margin": Stage.retrieval,
    "sentences": Stage.retrieval,
    "pair": Stage.duplicate,
    "stability": Stage.prompt,
    "pairwise": Stage.prompt,
    "ensemble": Stage.prompt,
    "agreement": Stage.prompt,
    "contrast": Stage.text,
}
"""The stage that each signal tells about."""
