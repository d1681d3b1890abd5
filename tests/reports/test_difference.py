"""What a run was told that its data set alone does not say."""

from __future__ import annotations

import pytest

from salip_exp._reports.run_page import difference
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.runs._manifest import write_config


def written(folder, *overrides: str):
    write_config(folder, typed(compose(overrides)))
    return folder / "config.yaml"


def test_the_default_differs_in_nothing(tmp_path):
    assert difference(written(tmp_path, "dataset=phantom_hc18", "progress=false", "outputs=elsewhere")) == []


def test_every_key_that_was_changed_is_named_with_both_values(tmp_path):
    config = written(tmp_path, "dataset=phantom_hc18", "+ablation=no_filter", "seed=7", "sam.points_per_side=8")
    assert difference(config) == [
        ("sam.points_per_side", "16", "8"),
        ("area.enabled", "true", "false"),
        ("seed", "1234", "7"),
    ]


@pytest.mark.parametrize("content", ["", "[1, 2]", "dataset: {name: no_such_set}", "dataset: {", "seed: 3"])
def test_a_configuration_that_cannot_be_read_gives_none(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    assert difference(tmp_path / "config.yaml") is None
    assert difference(tmp_path / "absent.yaml") is None
