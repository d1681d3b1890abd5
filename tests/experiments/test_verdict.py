"""The paragraph of a table says what its numbers say, and where they do not bear the paper out."""

from __future__ import annotations

from collections.abc import Callable

from salip_exp._experiments.results import Result
from salip_exp._experiments.verdict import reading
from salip_exp.config import Config

Make = Callable[..., Result]
LOW, MIDDLE, HIGH = ([base + 0.001 * i for i in range(16)] for base in (0.3, 0.6, 0.9))
ROWS = 3


def test_an_ordering_that_holds_everywhere_is_said_to_hold(constructed: Make, config: Config) -> None:
    said = reading(constructed("table6", *[{"no_filter": LOW, "salip": HIGH}] * ROWS), config)
    assert said == "The paper's ordering holds here. no filter < filter in 3 of 3 rows, clearly in 3."


def test_where_it_does_not_hold_is_named_with_the_difference(constructed: Make, config: Config) -> None:
    holds, turned, equal = ({"no_filter": a, "salip": b} for a, b in [(LOW, HIGH), (HIGH, MIDDLE), (LOW, LOW)])
    said = reading(constructed("table6", holds, turned, equal), config)
    assert said.startswith("The paper's ordering holds here in part.")
    assert "in 1 of 3 rows, clearly in 1; not in X-ray (-0.300 [-0.438, -0.044]), Ultrasound (no difference)." in said


def test_an_ordering_that_holds_nowhere_is_said_not_to_hold(constructed: Make, config: Config) -> None:
    said = reading(constructed("table5", *[{"sam_clip": HIGH, "salip": LOW}] * ROWS), config)
    assert said.startswith("The paper's ordering does not hold here. SAM + CLIP < SaLIP in 0 of 3 rows")


def test_a_difference_within_the_noise_is_not_called_clear(constructed: Make, config: Config) -> None:
    noisy = [score + (0.2 if i % 2 else -0.19) for i, score in enumerate(MIDDLE)]
    said = reading(constructed("table6", *[{"no_filter": MIDDLE, "salip": noisy}] * ROWS), config)
    assert "in 3 of 3 rows, clearly in 0" in said


def test_a_few_pairs_make_nothing_clear(constructed: Make, config: Config) -> None:
    said = reading(constructed("table6", *[{"no_filter": LOW[:2], "salip": HIGH[:2]}] * ROWS), config)
    assert said == "The paper's ordering holds here. no filter < filter in 3 of 3 rows, clearly in 0."
    few = {"nonsense_prompt": LOW[:2], "salip": HIGH[:2]}
    assert reading(constructed("controls", few, few, few), config) == "Not told for CC359, X-ray, Ultrasound."


def test_what_is_missing_is_not_told(constructed: Make, config: Config) -> None:
    partly = reading(constructed("table6", {"no_filter": LOW, "salip": HIGH}, {"salip": HIGH}, {}), config)
    assert partly.endswith("in 1 of 1 row, clearly in 1; not told for X-ray, Ultrasound.")
    nothing = reading(constructed("table6", {}, {}, {}), config)
    assert nothing == "Whether the paper's ordering holds cannot be told: no row has both scores of a pair."
    half = {"gt_sam": HIGH, "salip": MIDDLE}
    said = reading(constructed("table1", *[half] * 8), config)
    assert said.startswith("The paper's ordering holds here, as far as it can be told.")
    assert "un-prompted SAM < SaLIP: not told, a score is missing." in said


def test_the_three_of_table_1_are_ranked_pair_by_pair(constructed: Make, config: Config) -> None:
    row = {"gt_sam": HIGH, "salip": MIDDLE, "unprompted_sam": LOW}
    said = reading(constructed("table1", *[row] * 8), config)
    assert "un-prompted SAM < SaLIP in 8 of 8 rows, clearly in 8." in said
    assert "SaLIP < GT-SAM in 8 of 8 rows, clearly in 8." in said


def test_a_nonsense_text_that_scores_like_the_real_one_is_called_so(constructed: Make, config: Config) -> None:
    noisy = [score + (0.2 if i % 2 else -0.2) for i, score in enumerate(MIDDLE)]
    like, lower, higher = ({"nonsense_prompt": text, "salip": MIDDLE} for text in (noisy, LOW, HIGH))
    said = reading(constructed("controls", like, lower, higher), config)
    assert "scores clearly lower than the real text on X-ray (-0.300 [-0.438, -0.044])." in said
    assert "scores like the real text on CC359" in said
    assert "do not show that the text finds the organ" in said
    assert "scores higher than the real text on Ultrasound (+0.300" in said
    assert "Not told for X-ray" in reading(constructed("controls", like, {"salip": LOW}, lower), config)
