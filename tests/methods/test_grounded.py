"""Boxes by a text prompt SAM, and masks by a text are the organ: the best k, each once, and from the cache again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from salip_exp.cache.store import MemoryStore
from salip_exp.cascade.work import Counters
from salip_exp.config import ClipConfig, Config, DatasetConfig, RetrievalConfig, TextConfig, VdtConfig
from salip_exp.data.case import Case
from salip_exp.errors import CaseError, ConfigError
from salip_exp.methods._registry import build_method
from salip_exp.methods.base import Method
from salip_exp.networks._library_clip import LibraryClip, Spotted, Words
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam

CPU = torch.device("cpu")
BOXES = np.float32([[10, 10, 50, 60], [12, 11, 52, 60], [60, 20, 90, 70], [0, 0, 5, 5]])
SCORES = np.float32([0.8, 0.7, 0.6, 0.05])


def spotter(raw: float = 0.0, draws: bool = True) -> LibraryClip:
    """Finds four boxes by any text but "other", which names the last one alone."""

    def spot(picture: Image.Image, sentence: str, above: float) -> tuple[Spotted, list[torch.Tensor]]:
        rows = np.flatnonzero((above < SCORES) & (np.arange(4) == 3 if sentence == "other" else True))
        masks = np.zeros((4, picture.height, picture.width), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, BOXES.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        return Spotted(BOXES[rows], SCORES[rows], masks[rows] if draws else None), [torch.tensor([raw])]

    words: Callable[[str], torch.Tensor] = lambda sentence: torch.zeros(1, len(sentence))  # noqa: E731
    net = torch.nn.Linear(1, 1)
    return LibraryClip(net, None, [net], Words(words, len, 16), words, 0, spot=spot, draws=draws)  # type: ignore[arg-type]


@pytest.fixture
def made(blob_sam: Any) -> Callable[..., Method]:
    store = MemoryStore(2**24)

    def make(
        name: str, k: int = 1, above: float = 0.1, net: Any = None, text: Sequence[str] = ("lungs",), **parts: list[str]
    ) -> Method:
        sets = {each: TextConfig(each, sentences) for each, sentences in parts.items()}
        config = Config(
            method=name,
            dataset=DatasetConfig(name="stub", layout="folder", k=k),
            clip=ClipConfig("owlv2", min_score=above),
            retrieval=RetrievalConfig(max_overlap=0.5),
            vdt=VdtConfig("stub", parts=sets),
        )
        sam = LoadedSam(blob_sam, "stub", "0", CPU) if name == "grounded_sam" else None
        return build_method(config, sam, LoadedClip(net or spotter(), "stub", "0", CPU), text, store)

    return make


def case(picture: NDArray[np.uint8]) -> Case:
    return Case("c", "stub", "all", picture, None, None, "s")


def test_the_best_boxes_prompt_sam_and_one_that_repeats_another_does_not(
    made: Callable[..., Method], picture: NDArray[np.uint8]
) -> None:
    method = made("grounded_sam", k=2)
    found = method.predict(case(picture))
    assert np.array_equal(found.boxes, BOXES[[0, 2]]) and found.status == "ok" and found.prompted is not None
    expected = found.prompted(BOXES[[0, 2]]).dense().any(axis=0)
    assert np.array_equal(found.mask, expected)
    assert method.counters.clip_images == 1 and method.counters.box_decodes == 2
    again = made("grounded_sam", k=2)
    assert np.array_equal(again.predict(case(picture)).mask, found.mask) and again.counters == Counters()


def test_the_masks_of_the_best_are_the_organ(made: Callable[..., Method], picture: NDArray[np.uint8]) -> None:
    method = made("sam3_text", k=2)
    found = method.predict(case(picture))
    assert (found.mask.sum(), found.status, found.pool) == (40 * 50 + 30 * 50, "ok", None)
    assert method.counters == Counters(clip_image_forwards=1, clip_images=1, clip_text_forwards=1)
    again = made("sam3_text", k=2)
    assert np.array_equal(again.predict(case(picture)).mask, found.mask) and again.counters == Counters()


@pytest.mark.parametrize("name", ["grounded_sam", "sam3_text"])
def test_what_is_below_the_score_is_not_taken(
    made: Callable[..., Method], picture: NDArray[np.uint8], name: str
) -> None:
    assert made(name, k=3).predict(case(picture)).status == "k_short"
    nothing = made(name, above=0.9).predict(case(picture))
    assert nothing.status == "no_masks" and nothing.mask.shape == picture.shape[:2] and not nothing.mask.any()


def test_separate_texts_give_one_each(made: Callable[..., Method], picture: NDArray[np.uint8]) -> None:
    found = made("grounded_sam", k=2, above=0.0, text=["it", "other"], one=["it"], two=["other"]).predict(case(picture))
    assert np.array_equal(found.boxes, BOXES[[0, 3]])


def test_answers_that_are_no_numbers_are_told(made: Callable[..., Method], picture: NDArray[np.uint8]) -> None:
    with pytest.raises(CaseError, match="are not finite"):
        made("sam3_text", net=spotter(raw=float("nan"))).predict(case(picture))


def test_other_networks_and_long_sentences_are_refused(made: Callable[..., Method], random_clip: Any) -> None:
    with pytest.raises(ConfigError, match="take clip=owlv2 or clip=sam3"):
        made("grounded_sam", net=random_clip)
    with pytest.raises(ConfigError, match="draws masks: take clip=sam3"):
        made("sam3_text", net=spotter(draws=False))
    with pytest.raises(ConfigError, match="more than the 16 tokens"):
        made("grounded_sam", text=["a sentence of many letters"])
