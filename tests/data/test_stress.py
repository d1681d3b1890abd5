"""Images made worse on purpose: the same each time, worse with the severity, and targets where the organ is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from salip_exp.config import DatasetConfig
from salip_exp.data.case import Case, Source
from salip_exp.data.datasets import open_dataset
from salip_exp.data.stress import CORRUPTIONS, Stress, stress_of

MOVING = {"crop", "rotation"}
Configure = Callable[..., DatasetConfig]


def make(case_id: str = "a", height: int = 60, width: int = 80) -> Case:
    """A bright disc in the middle of a dark image with a texture, its target that disc."""
    rows, columns = np.mgrid[:height, :width]
    mask = (rows - height / 2) ** 2 + (columns - width / 2) ** 2 < (height / 4) ** 2
    grey = 40 + 120 * mask + (rows * 7 + columns * 3) % 40
    image = np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    source = Source(Path("image.png"), Path("mask.png"), (height, width))
    return Case(case_id, "d", "g", image, mask, (1, 1), case_id, facts={"head_circumference_mm": 1.0}, source=source)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_same_seed_and_case_give_the_same_pixels_and_others_give_others(name: str) -> None:
    case = make()
    first, again = (Stress(name, 3).applied(case, 7) for _ in range(2))
    assert np.array_equal(first.image, again.image)
    assert first.stress == f"{name}:3" and case.stress is None
    assert not np.array_equal(first.image, case.image)
    drawn = [Stress(name, 3).applied(replace(case, case_id=each), seed) for each in "abc" for seed in range(4)]
    alike = all(np.array_equal(each.image, first.image) for each in drawn)
    assert alike is (name in {"blur", "inversion", "resolution"})  # in which nothing is drawn


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_severities_get_worse(name: str) -> None:
    cases = [make(f"case {i}") for i in range(6)]
    apart = [
        np.mean([np.abs(Stress(name, each).applied(case, 1).image.astype(float) - case.image).mean() for case in cases])
        for each in range(1, 6)
    ]
    assert apart == sorted(apart) and apart[0] > 0


@given(
    name=st.sampled_from(sorted(CORRUPTIONS)),
    severity=st.integers(1, 5),
    image=arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
)
@settings(deadline=None)
def test_images_of_any_size_stay_images(name: str, severity: int, image: np.ndarray) -> None:
    case = replace(make(), image=image, mask=image[:, :, 0] > 99)
    found = Stress(name, severity).applied(case, 1)
    assert (found.image.shape, found.image.dtype) == (image.shape, np.uint8)
    assert found.mask is not None and (found.mask.shape, found.mask.dtype) == (image.shape[:2], bool)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_targets_go_with_what_moves_and_stay_else(name: str) -> None:
    case = make()
    found = Stress(name, 4).applied(case, 1)
    assert np.array_equal(found.mask, case.mask) is (name not in MOVING)
    assert (found.source is None) is (name in MOVING)  # it lies on no file any more
    assert (dict(found.facts) == {}) is (name in MOVING)
    assert found.spacing == case.spacing


@pytest.mark.parametrize("seed", range(8))
def test_a_turned_target_is_where_the_turned_organ_is(seed: int) -> None:
    case = make()
    bright = replace(case, image=np.repeat(200 * case.mask.astype(np.uint8)[:, :, None], 3, axis=2), touched=case.mask)
    for name in MOVING:
        found = Stress(name, 3).applied(bright, seed)
        seen = found.image[:, :, 0].astype(int)
        assert found.mask[seen > 101].all() and not found.mask[seen < 99].any()
        assert np.array_equal(found.touched, found.mask)


def test_what_is_cut_off_is_black_and_lies_at_a_side() -> None:
    for seed in range(12):
        found = Stress("crop", 5).applied(make(), seed)
        black = ~found.image.any(axis=2)
        assert black.sum() == black.size // 2
        assert black.all(axis=0).sum() == 40 or black.all(axis=1).sum() == 30
        assert not (found.mask & black).any()


def test_a_case_without_a_target_is_made_worse_too() -> None:
    assert Stress("rotation", 2).applied(replace(make(), mask=None), 1).mask is None


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("specle:3", "speckle"),
        ("speckle", "write stress=speckle:3"),
        ("speckle:6", "from 1 to 5"),
        ("speckle:0", "from 1 to 5"),
        ("blur:2:3", "from 1 to 5"),
        ("", "the nearest is"),
    ],
)
def test_what_is_no_stress_is_told_what_is(told: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        stress_of(told)
    assert "\n" not in str(caught.value)


def test_a_data_set_is_read_under_stress(tmp_path: Path, head: Callable[..., Path], config: Configure) -> None:
    head(tmp_path)
    chosen = config("hc18", f"root={tmp_path}")
    (plain,), (worse,) = (open_dataset(chosen, 1, each).refs for each in (None, "blur:3"))
    assert plain.load().stress is None and worse.load().stress == "blur:3"
    assert not np.array_equal(plain.load().image, worse.load().image)


def test_an_organ_that_is_absent_has_an_empty_target_with_and_without_a_mask(
    tmp_path: Path, head: Callable[..., Path], config: Configure
) -> None:
    head(tmp_path)
    head(tmp_path, "002_HC", mask=False)
    chosen = config("hc18", f"root={tmp_path}", "absent=true", "missing_masks=predict")
    assert not open_dataset(chosen, 1).beside
    first, second = (each.load() for each in open_dataset(chosen, 1).refs)
    for case in (first, second):
        assert case.mask is not None and not case.mask.any()
        assert case.source is not None and case.source.mask is None
        assert not case.facts


def test_what_a_stress_does_is_said_with_its_level() -> None:
    assert stress_of("blur:3").said == "Gaussian; its deviation in long sides 0.014"
