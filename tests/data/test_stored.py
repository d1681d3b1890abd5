"""What readers of all formats give, and what stands between them and the bytes of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp._files import TooLarge
from salip_exp.data._stored import MAX_VOXELS, from_lps, grid, reading, require_fair
from salip_exp.errors import CaseError, EnvironmentFault

HERE = Path("a.xyz")


def test_steps_to_the_left_and_to_the_back_are_negative_to_the_right_and_to_the_front() -> None:
    steps = np.array([[2.0, 0, 0], [0, 3, 0], [0, 0, 4], [10, 20, 30]])
    assert (from_lps(list(steps)) == [[-2, 0, 0, -10], [0, -3, 0, -20], [0, 0, 4, 30], [0, 0, 0, 1]]).all()


@given(st.lists(st.floats(-1e3, 1e3), min_size=12, max_size=12), st.lists(st.integers(0, 99), min_size=3, max_size=3))
def test_an_index_lies_where_its_steps_lead(numbers: list[float], index: list[int]) -> None:
    steps = np.reshape(numbers, (4, 3))
    lies = steps[3] + np.array(index) @ steps[:3]
    assert np.allclose((from_lps(list(steps)) @ [*index, 1])[:3], lies * [-1, -1, 1], atol=1e-6)


def test_a_grid_takes_no_memory() -> None:
    found = grid((1 << 10, 1 << 10, 1 << 8))
    assert found.shape == (1 << 10, 1 << 10, 1 << 8) and not found[::512, ::512, ::128].any()
    assert found.strides == (0, 0, 0)


def test_voxels_are_counted_whatever_their_shape() -> None:
    require_fair((MAX_VOXELS, 1, 1), HERE)
    for shape in ((MAX_VOXELS + 1, 1, 1), (1 << 40, 1 << 40, 1 << 40)):
        with pytest.raises(CaseError, match=rf"a\.xyz promises {shape[0]} x .* the limit is {MAX_VOXELS}") as caught:
            require_fair(shape, HERE)
        assert caught.value.code == "E_SIZE"


@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (ValueError("odd\nbytes"), "E_READ", r"a\.xyz cannot be read as XYZ \(odd bytes\): get the file again"),
        (RecursionError(), "E_READ", r"\(RecursionError\)"),
        (MemoryError(), "E_READ", r"\(MemoryError\)"),
        (KeyError("Rows"), "E_READ", r"\('Rows'\)"),
        (TooLarge("it has 9 tags"), "E_SIZE", r"a\.xyz is too large: it has 9 tags"),
        (CaseError("E_DIMS", "as it was"), "E_DIMS", "^as it was$"),
    ],
)
def test_whatever_a_decoder_raises_has_a_name(raised: Exception, code: str, said: str) -> None:
    with pytest.raises(CaseError, match=said) as caught, reading(HERE, "XYZ"):
        raise raised
    assert caught.value.code == code and "\n" not in str(caught.value)


def test_an_extra_that_is_missing_is_no_fault_of_the_file() -> None:
    with pytest.raises(EnvironmentFault, match="pip install"), reading(HERE, "XYZ"):
        raise EnvironmentFault("pip install it")
    with pytest.raises(KeyboardInterrupt), reading(HERE, "XYZ"):
        raise KeyboardInterrupt


def test_numbers_that_overflow_warn_nobody(recwarn: pytest.WarningsRecorder) -> None:
    with reading(HERE, "XYZ"):
        assert np.isinf(np.float64(1e308) * np.float64(1e308))
    assert not recwarn.list
