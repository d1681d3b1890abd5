"""The paper's figure beside ours is that of the same group and the same method, or none."""

from __future__ import annotations

import pytest

from salip_exp._paper import paper_scores


@pytest.mark.parametrize(
    ("dataset", "group", "method", "scores"),
    [
        ("cc359", "GE 1.5", "salip", (0.92, 0.87)),
        ("phantom_cc359", "Siemens 3", "gt_sam", (0.96, 0.90)),
        ("phantom_xray", "X-ray", "unprompted_sam", (0.47, 0.31)),
        ("hc18", None, "unet", (0.95, 0.91)),
        ("cc359", "GE 3", "salip", None),
        ("cc359", None, "salip", None),
        ("cc359", "GE 1.5", "sam_clip", None),
        ("folder", "all", "salip", None),
    ],
)
def test_the_figure_of_table_1(dataset, group, method, scores):
    assert paper_scores(dataset, group, method) == scores
