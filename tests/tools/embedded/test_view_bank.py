"""The bank of views: drawn once, the pictures that CLIP is given, and batches that repeat."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from salip_exp.networks._embedded.networks import build_clip, build_sam
from tools.embedded import scenes, train_clip, view_bank

COUNTS = {"brain": 1, "head": 2, "chest": 2}


def draw(bank: scenes.Bank, folder: Path, parts: int) -> None:
    """Parts of three scenes, segmented by an untrained SAM."""
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_bank, "PART", 3)
        view_bank.make_views(bank, build_sam(), folder, 64, range(parts))


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> scenes.Bank:
    folder = tmp_path_factory.mktemp("bank")
    scenes.make_bank(folder, COUNTS, 7, 1)
    return scenes.Bank(folder, COUNTS, 7)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bank: scenes.Bank) -> Path:
    folder = tmp_path_factory.mktemp("views")
    draw(bank, folder, 2)
    return folder


def test_a_part_is_drawn_once_and_the_same_again(bank: scenes.Bank, folder: Path, tmp_path: Path) -> None:
    first = folder / "0000.npz"
    before = first.stat().st_mtime_ns
    draw(bank, folder, 1)
    assert first.stat().st_mtime_ns == before
    draw(bank, tmp_path, 1)
    with np.load(first) as one, np.load(tmp_path / "0000.npz") as other:
        for name in view_bank.Part._fields:
            np.testing.assert_array_equal(one[name], other[name])


def test_batches_repeat_by_number_and_hold_the_views_of_their_scenes(folder: Path) -> None:
    one, other = (view_bank.ViewBank(folder, 2, 5) for _ in range(2))
    batch, again, next_one = one.batch(4, 6, 3), other.batch(4, 6, 3), one.batch(4, 6, 4)
    assert batch.pixels.shape == (24, 64, 64)
    assert batch.fits.shape == (4, 6, 2)
    assert batch.tokens.shape == (len(train_clip.CLASSES) * train_clip.SENTENCES_PER_CLASS, 77)
    torch.testing.assert_close(batch.shares.sum(1), torch.ones(24))
    for field, same in zip(batch, again, strict=True):
        torch.testing.assert_close(field, same, rtol=0, atol=0)
    assert not torch.equal(batch.pixels, next_one.pixels)
    assert torch.isfinite(train_clip.loss(build_clip(), batch))


def test_a_stored_view_is_what_clip_is_given() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (120, 200), dtype=np.uint8)
    mask = np.zeros(picture.shape, bool)
    mask[20:90, 30:160] = True
    given = train_clip.picture_of(rng, picture, mask, 64)
    stored = train_clip.as_input(torch.from_numpy(view_bank.as_bytes(given)[None]))[0]
    torch.testing.assert_close(stored, given, rtol=0, atol=1e-5)


def test_another_sam_has_another_folder(tmp_path: Path) -> None:
    weights = tmp_path / "sam_tiny.safetensors"
    weights.write_bytes(b"one")
    first = view_bank.folder_of(tmp_path, weights)
    weights.write_bytes(b"two")
    assert view_bank.folder_of(tmp_path, weights) != first


def test_of_good_candidates_the_best_must_win_and_each_lung_counts() -> None:
    fits = torch.tensor([[[0.95, 0.0], [0.8, 0.0], [0.1, 0.0]]])
    best, second = (train_clip.ranking_loss(10 * torch.eye(3)[[row]], fits) for row in (0, 1))
    assert best < 0.2
    assert second > 5
    lungs = torch.tensor([[[0.9, 0.0], [0.0, 0.9], [0.3, 0.0]]])
    both, one = (train_clip.ranking_loss(10 * torch.tensor([shown]), lungs) for shown in ([1.0, 1, 0], [1.0, 0, 0]))
    assert both < one
    nothing = train_clip.ranking_loss(torch.zeros(1, 3), torch.full((1, 3, 2), 0.2))
    assert nothing == 0


def test_a_candidate_fits_by_its_mask_and_by_its_box() -> None:
    organ = np.zeros((40, 40), bool)
    organ[10:30, 10:30] = True
    ring = organ.copy()
    ring[15:25, 15:25] = False
    half = organ.copy()
    half[:, 20:] = False
    assert train_clip.fit(organ, organ) == 1
    assert train_clip.fit(ring, organ) == pytest.approx((0.75 + 1) / 2)
    assert train_clip.fit(half, organ) == pytest.approx(0.5)
    assert train_clip.fit(~organ & (np.arange(40) < 5), organ) == 0
