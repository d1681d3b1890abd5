"""method=unet: one forward, one threshold, and no other network."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from salip_exp.cache.store import NoStore
from salip_exp.cascade.work import Counters
from salip_exp.config import Config
from salip_exp.data.case import Case
from salip_exp.methods._registry import build_method
from salip_exp.methods.base import Networks, Status
from salip_exp.methods.traits import METHODS
from salip_exp.methods.unet import Unet
from salip_exp.networks.unet import LoadedUnet, Trained


class Bright(torch.nn.Module):
    """Marks what is brighter than the mean."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, :1]


@pytest.fixture
def unet() -> LoadedUnet:
    return LoadedUnet(Bright(), "set", "a" * 64, torch.device("cpu"), trained=Trained(16, (4, 8), "set", (), "k"))


@pytest.fixture
def case() -> Case:
    image = np.zeros((40, 60, 3), np.uint8)
    image[8:16, 9:21] = image[24:32, 39:51] = 200
    return Case("a", "set", "g", image, image[..., 0] > 100, None, "a")


def test_it_is_built_without_other_networks(unet) -> None:
    method = build_method(Config(method="unet"), None, None, [], NoStore(), unet)
    assert isinstance(method, Unet)
    assert METHODS["unet"].networks == ()


def test_the_mask_has_the_size_of_the_case_and_keeps_every_component(unet, case) -> None:
    prediction = Unet(Config(), Networks(Counters(), unet=unet)).predict(case)
    assert (prediction.mask.dtype, prediction.mask.shape, prediction.status) == (bool, (40, 60), Status.ok)
    assert (prediction.mask & case.mask).sum() > 0.8 * case.mask.sum()
    halves = prediction.mask[:, :30], prediction.mask[:, 30:]
    assert all(each.any() for each in halves)
    assert prediction.pool is None and list(prediction.seconds) == ["unet"]


def test_forwards_are_counted(unet, case) -> None:
    method = Unet(Config(), Networks(Counters(), unet=unet))
    for _ in range(3):
        method.predict(case)
    assert method.counters.unet_forwards == 3
    assert sum(method.counters.to_dict().values()) == 3
