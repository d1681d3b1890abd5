"""Sentences that the embedded CLIP learns from."""

from __future__ import annotations

import numpy as np
import pytest

from salip_exp.networks.packages import clip
from tools.embedded import texts


@pytest.mark.parametrize("name", list(texts.THINGS))
def test_a_class_has_many_wordings_that_fit_into_clip(name: str) -> None:
    vdt = texts.vdt_sentences()
    drawn = {texts.draw(np.random.default_rng(seed), name, vdt) for seed in range(200)}
    assert len(drawn) > 60
    clip.tokenize(sorted(drawn))  # raises where one is too long
    assert not any("{" in sentence for sentence in drawn)


def test_no_wording_belongs_to_two_classes() -> None:
    names = [name for thing in texts.THINGS.values() for name in thing.names]
    assert len(names) == len(set(names))


def test_organ_classes_learn_the_sentences_of_the_configuration() -> None:
    vdt = texts.vdt_sentences()
    assert set(vdt) == {"brain", "fetal_head", "lung", "liver", "spleen", "kidney", "left_ventricle"}
    drawn = {texts.draw(np.random.default_rng(seed), "lung", vdt) for seed in range(300)}
    assert len(drawn & set(vdt["lung"])) > len(vdt["lung"]) / 2
