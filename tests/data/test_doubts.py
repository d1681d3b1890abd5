"""What targets say about settings: k, inverted and full masks, the area filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from salip_exp.config import AreaConfig, AreaUnit, DatasetConfig, Side
from salip_exp.data._doubts import Doubts
from salip_exp.data.case import Case

ONE = np.zeros((20, 20), bool)
ONE[2:8, 2:8] = True
TWO = ONE | ONE[:, ::-1]
SPECK = ONE.copy()
SPECK[15, 15] = True
LARGE = np.zeros((20, 20), bool)
LARGE[1:19, 1:19] = True


def told(masks: Sequence[NDArray[np.bool_] | None], area: AreaConfig | None = None, **keys: object) -> list[str]:
    seen = Doubts(DatasetConfig("set", "folder", **keys), area)
    for number, mask in enumerate(masks):
        seen.see(Case(f"c{number}", "set", "g", np.zeros((20, 20, 3), np.uint8), mask, None, "s"))
    return [each.said for each in seen.told()]


@pytest.mark.parametrize(
    ("masks", "k", "said"),
    [
        (
            [TWO, TWO, ONE],
            1,
            "2 of 3 targets are in 2 parts of similar size, and dataset.k=1 looks for 1: dataset.k=2 fits",
        ),
        ([ONE, ONE], 2, "2 of 2 targets are in one piece, and dataset.k=2 looks for 2: dataset.k=1 fits"),
        ([ONE, SPECK, None, np.zeros((20, 20), bool)], 1, None),
        ([TWO, TWO], 2, None),
        ([TWO, ONE], 1, None),
        ([TWO, ONE], 2, None),
    ],
)
def test_another_number_of_parts_is_told(masks: list[NDArray[np.bool_] | None], k: int, said: str | None) -> None:
    found = told(masks, k=k)
    assert (found == []) if said is None else found[0].startswith(said)
    assert not told(masks, k=1, side=Side.left)


@pytest.mark.parametrize(("k", "side", "pair", "n"), [(1, Side.both, True, 1), (1, Side.both, False, 0),
                                                      (2, Side.both, True, 0), (1, Side.left, True, 0)])  # fmt: skip
def test_without_targets_the_text_tells_of_a_pair(k: int, side: Side, pair: bool, n: int) -> None:
    seen = Doubts(DatasetConfig("set", "folder", k=k, side=side), None, pair)
    for name in ("a", "b"):
        seen.see(Case(name, "set", "g", np.zeros((20, 20, 3), np.uint8), None, None, "s"))
    found = list(seen.told())
    assert len(found) == n and all(each.n == 2 and "dataset.k=2 finds both" in each.said for each in found)
    seen.see(Case("c", "set", "g", np.zeros((20, 20, 3), np.uint8), ONE if k == 1 else TWO, None, "s"))
    assert list(seen.told()) == [], "targets say more"


@pytest.mark.parametrize(("spacing", "volume", "n"), [((5.0, 1.6), "v", 1), ((1.6, 5.0), "v", 1), ((2.0, 1.1), "v", 0),
                                                      ((5.0, 1.6), None, 0), (None, "v", 0)])  # fmt: skip
def test_slices_across_thick_slices_are_told(spacing: tuple[float, float] | None, volume: str | None, n: int) -> None:
    seen = Doubts(DatasetConfig("set", "folder"), None)
    seen.see(Case("v/c", "set", "g", np.zeros((20, 20, 3), np.uint8), None, spacing, "s", volume))
    assert [each.n for each in seen.told()] == [1] * n
    assert all(f"{spacing[0]:.2g} x {spacing[1]:.2g} mm" in each.said for each in seen.told())


def test_full_and_inverted_masks_are_told() -> None:
    assert told([~ONE, ONE, LARGE]) == [
        "1 target holds more than half of its image and its border (c0): where background is marked instead of the "
        "organ, dataset.files.label=N chooses the organ's number"
    ]
    assert told([~np.zeros((20, 20), bool)]) == ["1 target fills its image (c0): look at the masks"]


@pytest.mark.parametrize(("unit", "threshold"), [(AreaUnit.fraction, 0.6), (AreaUnit.pixels, 300)])
def test_targets_that_the_area_filter_drops_are_told(unit: AreaUnit, threshold: float) -> None:
    area = AreaConfig(enabled=True, threshold=threshold, unit=unit)
    assert told([ONE, LARGE], area) == [
        f"1 target is larger than the area filter lets through (c1): area.threshold={threshold:g} drops such "
        "candidates; raise it, or add +ablation=no_filter"
    ]
    assert told([ONE, LARGE], AreaConfig(enabled=False)) == []
