"""A run is called by what it has other than the default, in words, and by the same words everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from salip_exp._runs._manifest import write_config
from salip_exp._settings.compose import compose
from salip_exp._settings.names import apart, called, dated, words, words_of
from salip_exp._settings.validate import typed

NAMES = {
    "": "default",
    "+ablation=no_filter": "no filter",
    "sam=vit_b clip=vit_b_32": "SAM ViT-B, CLIP ViT-B/32",
    "sam=medsam sam.points_per_side=4": "SAM medsam, 4 points a side",
    "method=gt_sam seed=7 dataset.limit=24 figures=none outputs=x": "GT-SAM, first 24 cases, seed 7",
    "dataset=phantom_xray dataset.k=1": "k = 1",
    "+ablation=nonsense_prompt": "text nonsense prompt",
    "vdt.sentences=[one]": "“one”",
    "vdt.sentences=[one,two]": "2 sentences of its own",
    "dataset=folder dataset.root=x dataset.files.images=a/* vdt.file=b": "data x, dataset files images = a/*, text b",
    "dataset=folder dataset.root=/x/scans dataset.roi=lung vdt=custom vdt.file=a/b.txt": "data scans, lung, text b.txt",
    "method=unet unet.side=96": "U-Net, unet side = 96",
    "method=unet unet=quick unet.weights=a/unet.safetensors": "U-Net, unet weights = unet.safetensors",
    "area.threshold=0.5 view.kind=box": "area threshold = 0.5, view box",
}


@pytest.mark.parametrize("overrides", NAMES)
def test_a_run_is_called_by_what_is_other_than_the_default(overrides: str, tmp_path: Path) -> None:
    config = typed(compose(overrides.split()))
    write_config(tmp_path, config)
    assert called(words_of(config)) == NAMES[overrides]
    assert words(tmp_path) == words_of(config), "a folder tells the same"


def test_a_run_that_does_not_tell_is_called_by_its_folder(tmp_path: Path) -> None:
    assert words(tmp_path) is None
    assert called(None, "a/1") == "a/1"


def test_what_all_runs_have_tells_none_of_them_apart() -> None:
    assert apart([["no filter", "seed 7"], ["seed 7"], None]) == {"seed 7"}
    assert apart([["seed 7"]]) == set()
    assert dated("2026-01-02T03:04:05+00:00") == "2026-01-02 03:04" and dated(None) == ""
