"""Slices with the mask of one organ: what they show, and that a run reads them."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from salip_exp import SaLIP
from salip_exp.evaluation.metrics import dice
from tools.embedded import slices


@pytest.mark.parametrize("organ", list(slices.ORGANS))
def test_every_slice_shows_its_organ_whole_and_repeats_by_seed(organ: str) -> None:
    drawn = list(islice(slices.slices(organ, 5), 2))
    again = list(islice(slices.slices(organ, 5), 2))
    for (picture, mask), (same, same_mask) in zip(drawn, again, strict=True):
        assert picture.shape == mask.shape == (256, 256)
        assert set(np.unique(mask)) == {0, 255}
        parts = len(slices.ORGANS[organ][1])
        pieces, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        assert (stats[1:, cv2.CC_STAT_AREA] > 0.5 * slices.SMALLEST[organ] * mask.size).sum() >= min(parts, pieces - 1)
        np.testing.assert_array_equal(picture, same)
        np.testing.assert_array_equal(mask, same_mask)


def test_a_folder_holds_pairs_of_equal_names(tmp_path: Path) -> None:
    slices.write(tmp_path, "left_ventricle", 2, 3)
    names = [sorted(p.name for p in (tmp_path / "left_ventricle" / kind).iterdir()) for kind in ("images", "masks")]
    assert names == [["000.png", "001.png"]] * 2


@pytest.mark.ci
@pytest.mark.parametrize(("organ", "text"), [("liver", "liver_ct"), ("left_ventricle", "left_ventricle_mr")])
def test_the_small_networks_find_organs_by_words_alone_in_slices_that_they_never_saw(organ: str, text: str) -> None:
    segment = SaLIP.from_config(
        ["dataset=folder", "sam=small", "clip=small", f"vdt={text}", "dataset.k=1", "confidence=none"]
    )
    drawn = islice(slices.slices(organ, 78), 6)
    assert np.mean([dice(segment(picture).mask, mask > 0) for picture, mask in drawn]) > 0.7
