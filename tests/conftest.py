"""Networks and pools small enough for every test: SAM with smooth random blobs, the tiny CLIP with random weights."""

from __future__ import annotations

import gc
import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from salip_exp import plugins
from salip_exp.cascade.pool import Pool, pack
from salip_exp.config import SamConfig
from salip_exp.networks._embedded.networks import build_clip, build_sam
from salip_exp.networks.packages import CLIP, Sam
from salip_exp.networks.sam import load_sam

SIDE, GRID, WIDTH = 128, 8, 16
PATIENCE_S = 600.0  # for what takes a second on a quiet machine

# Machines that run tests are slow and shared; a property is not wrong because it took long.
hypothesis.settings.register_profile("shared", deadline=None)
hypothesis.settings.load_profile("shared")


def pytest_collection_finish() -> None:
    """What is imported by now stays: to look through it for garbage again and again costs a sixth of the time."""
    gc.collect()
    gc.freeze()


class ColourEncoder(torch.nn.Module):
    """Stands for SAM's encoder: features are pooled colours, so that every crop has its own."""

    img_size = SIDE

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        pooled = torch.nn.functional.adaptive_avg_pool2d(pixels, GRID)
        return pooled.repeat(1, WIDTH // 3 + 1, 1, 1)[:, :WIDTH]


class BlobDecoder(torch.nn.Module):
    """Stands for SAM's decoder: each mask is a wavy ellipse drawn from prompt and image, now and then nothing at all.

    Random weights of the real decoder give speckle, of which suppression leaves one mask. Row by row it computes the
    same whatever the batch is, as the real one does on CPU.
    """

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.register_buffer("weights", 1.5 * torch.randn(4, 7, WIDTH, generator=generator))

    def forward(
        self,
        image_embeddings: torch.Tensor,
        image_pe: torch.Tensor,
        sparse_prompt_embeddings: torch.Tensor,
        dense_prompt_embeddings: torch.Tensor,
        multimask_output: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        code = sparse_prompt_embeddings.sum(dim=1) + 0.3 * image_embeddings.mean(dim=(2, 3))
        numbers = torch.sigmoid((code[:, None, None, :] * self.weights).sum(-1))
        x, y, rx, ry, wave, empty, iou = numbers[..., None, None].unbind(2)
        axis = torch.linspace(0, 1, 4 * GRID)
        distance = ((axis[None, :] - x) / (0.05 + 0.4 * rx)) ** 2 + ((axis[:, None] - y) / (0.05 + 0.4 * ry)) ** 2
        logits = 4 * (1 - distance) + 5 * wave * torch.sin(40 * axis)[None, :] * torch.sin(40 * axis)[:, None]
        logits = torch.where(empty > 0.95, torch.full_like(logits, -30.0), logits)
        tokens = slice(1, None) if multimask_output else slice(0, 1)
        return logits[:, tokens], iou[:, tokens, 0, 0]


@pytest.fixture(scope="session", autouse=True)
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever a test keeps between runs stays out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SALIP_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def module_at() -> Callable[[Path], ModuleType]:
    """A file beside the tests, as a module: one that a test can also start as a program."""

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"{path.parent.name}_{path.stem}", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    """Wait for an event however long a busy machine takes, but no longer than the process that brings it about."""

    def wait(happened: Callable[[], object], process: subprocess.Popen[Any] | None = None) -> None:
        limit = time.monotonic() + PATIENCE_S
        while not happened():
            assert process is None or process.poll() is None or happened(), "the process ended before"
            assert time.monotonic() < limit, "it never happened"
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def fakes(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    """The fake data set and method, as a module that a test can also start as a program."""
    return module_at(Path(__file__).parent / "runs" / "fakes.py")


@pytest.fixture(scope="session")
def constructed(module_at: Callable[[Path], ModuleType]) -> Callable[..., Any]:
    """Makes a table of the paper whose rows have given scores by column; None is a missing cell."""
    make: Callable[..., Any] = module_at(Path(__file__).parent / "experiments" / "constructed.py").result
    return make


@pytest.fixture
def install_score(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes what is given known as a score that an installed package adds."""
    entries: dict[str, SimpleNamespace] = {}
    found: dict[str, object] = {}

    def install(score: object, name: str = "", version: str = "1.0") -> None:
        name = name or score.name  # type: ignore[attr-defined]
        package = SimpleNamespace(name="my-package", version=version)
        entries[name], found[name] = SimpleNamespace(value=f"my_package:{name}", dist=package), score

    monkeypatch.setattr(plugins, "installed", lambda kind: entries if kind == "scores" else {})
    monkeypatch.setattr(plugins, "load", lambda kind, name: found[name])
    return install


@pytest.fixture(scope="session")
def blob_sam() -> Sam:
    """SAM for 128-pixel input whose masks are blobs; the real prompt encoder."""
    return make_blob_sam()


def make_blob_sam() -> Sam:
    torch.manual_seed(3)
    real = build_sam()
    prompts = type(real.prompt_encoder)(WIDTH, (GRID, GRID), (SIDE, SIDE), 4)
    return Sam(ColourEncoder(), prompts, BlobDecoder()).eval()


@pytest.fixture(scope="session")
def random_sam() -> Sam:
    """The tiny SAM of the package with random weights."""
    torch.manual_seed(0)
    return build_sam()


@pytest.fixture(scope="session")
def embedded_sam() -> Sam:
    """The SAM that travels with the package."""
    return load_sam(SamConfig(name="tiny"), torch.device("cpu"), download=False).net


@pytest.fixture(scope="session")
def random_clip() -> CLIP:
    """The tiny CLIP of the package with random weights."""
    return make_random_clip()


def make_random_clip() -> CLIP:
    torch.manual_seed(1)
    return build_clip()


@pytest.fixture(scope="session")
def make_pool() -> Callable[[NDArray[np.bool_]], Pool]:
    """A pool of given masks, bool (N, H, W), with their tight boxes."""
    return pool_of


def pool_of(masks: NDArray[np.bool_]) -> Pool:
    masks = np.asarray(masks, dtype=bool)
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        y, x = np.nonzero(mask)
        if len(x):
            box[:] = x.min(), y.min(), x.max(), y.max()
    ones = np.ones(len(masks), np.float32)
    return Pool(np.arange(len(masks)), pack(masks), boxes, masks.sum(axis=(1, 2)), ones, ones)


@pytest.fixture
def real() -> Callable[[str], Path]:
    """A folder of the real images; the test is skipped where it is absent."""
    default = Path(__file__).parents[1].parent / "shared" / "data"

    def find(name: str) -> Path:
        folder = Path(os.environ.get("SALIP_REAL_DATA", default)) / name
        if not folder.is_dir():
            pytest.skip(f"no real images: {folder} is absent (SALIP_REAL_DATA names the folder that holds {name}/)")
        return folder

    return find


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """A smooth random RGB image of 96 x 128 pixels."""
    coarse = np.random.default_rng(0).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return np.kron(coarse, np.ones((16, 16, 1), np.uint8))
