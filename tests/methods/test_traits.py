"""What each method needs is told in one table, which imports no network, and is true."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from salip_exp.cache.store import NoStore
from salip_exp.config import ClipConfig, Config, DatasetConfig, SamConfig, VdtConfig
from salip_exp.data.case import Case
from salip_exp.errors import CaseError, ConfigError
from salip_exp.methods._registry import build_method
from salip_exp.methods.base import Method, Prediction
from salip_exp.methods.traits import METHODS, Chooser
from salip_exp.networks.clip import LoadedClip
from salip_exp.networks.sam import LoadedSam

CASCADE = [name for name in METHODS.names if not (METHODS[name].trained or METHODS[name].clips)]


@pytest.fixture
def build(blob_sam, random_clip):
    """A method around the networks that its traits ask for, and no others."""

    def make(name: str) -> Method:
        cpu, traits = torch.device("cpu"), METHODS[name]
        sam = LoadedSam(blob_sam, "stub", "0", cpu) if traits.sam else None
        clip = LoadedClip(random_clip, "stub", "0", cpu) if traits.clip else None
        lenient = SamConfig("stub", points_per_side=6, pred_iou_thresh=0.1, stability_score_thresh=0.2)
        data, text = DatasetConfig(name="stub", layout="folder"), VdtConfig("stub")
        config = Config(method=name, dataset=data, sam=lenient, clip=ClipConfig("stub"), vdt=text)
        return build_method(config, sam, clip, ["a bright oval"] if traits.clip else [], NoStore())

    return make


def predicted(method: Method, picture: np.ndarray, with_target: bool = True) -> Prediction:
    target = np.zeros(picture.shape[:2], bool)
    target[20:60, 10:50] = True
    return method.predict(Case("c", "stub", "all", picture, target if with_target else None, None, "s"))


def test_the_table_imports_no_network():
    code = "import sys, salip_exp.methods.traits as t; t.METHODS['salip']; print({'torch', 'clip'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.parametrize("name", CASCADE)
def test_a_method_does_what_its_traits_say(build, picture, name):
    traits, method = METHODS[name], build(name)
    prediction = predicted(method, picture)
    asked = method.counters.to_dict()
    assert traits.clip == (asked["clip_images"] > 0)
    assert traits.sam == (asked["encoder_calls"] > 0)
    assert traits.prompts == (asked["box_decodes"] > 0)
    assert (prediction.pool is not None) == (traits.chooser is not Chooser.nobody)


@pytest.mark.parametrize("name", CASCADE)
def test_a_method_needs_a_target_where_its_traits_say_so(build, picture, name):
    if METHODS[name].target:
        with pytest.raises(CaseError, match=f"method={name} needs"):
            predicted(build(name), picture, with_target=False)
    else:
        predicted(build(name), picture, with_target=False)


def test_networks_that_are_downloaded_are_listed():
    assert METHODS["salip"].networks == ("sam", "clip")
    assert METHODS["gt_sam"].networks == ("sam",)
    assert METHODS["unet"].networks == ()


def test_a_method_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ConfigError, match="salp is none of the methods that are installed: salip, sam_clip, gt_sam"):
        METHODS["salp"]
