"""Augmentation depends on its seed alone, moves mask and image together, and mirrors only where it may."""

from __future__ import annotations

import pytest
import torch

from salip_exp._training.augment import augmentation

SIDE = 48


@pytest.fixture
def example() -> tuple[torch.Tensor, torch.Tensor]:
    """A bright square to the left of the middle on a dark ground, and its mask."""
    target = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    target[:, 18:30, 8:20] = True
    return 0.1 + 0.8 * target.float().repeat(3, 1, 1), target


def test_a_seed_gives_the_same_pictures_whatever_was_done_before(example) -> None:
    augment = augmentation(SIDE, flip=True)
    once = augment(*example, 5)
    augment(*example, 6)
    again, other = augmentation(SIDE, flip=True)(*example, 5), augment(*example, 5)
    for first, second, third in zip(once, again, other, strict=True):
        assert torch.equal(first, second) and torch.equal(first, third)


def test_seeds_give_different_pictures(example) -> None:
    augment = augmentation(SIDE, flip=False)
    pictures = [augment(*example, seed)[0] for seed in range(8)]
    assert len({each.numpy().tobytes() for each in pictures}) == 8


def test_form_and_type_stay_and_masks_stay_binary(example) -> None:
    augment = augmentation(SIDE, flip=True)
    for seed in range(20):
        image, target = augment(*example, seed)
        assert type(image) is type(target) is torch.Tensor
        assert (image.shape, image.dtype) == ((3, SIDE, SIDE), torch.float32)
        assert (target.shape, target.dtype) == ((1, SIDE, SIDE), torch.float32)
        assert torch.isfinite(image).all()
        assert set(target.unique().tolist()) <= {0.0, 1.0}


def test_the_mask_stays_on_what_it_marks(example) -> None:
    augment = augmentation(SIDE, flip=True)
    brighter = []
    for seed in range(30):
        image, target = augment(*example, seed)
        inside, outside = image[0][target[0] > 0], image[0][target[0] == 0]
        brighter.append(inside.mean() - outside.mean() > 0.15)
    assert sum(brighter) >= 27  # black holes may cover it now and then


def test_only_with_flip_does_the_left_become_the_right(example) -> None:
    def on_the_right(flip: bool) -> int:
        augment = augmentation(SIDE, flip)
        targets = [augment(*example, seed)[1][0] for seed in range(40)]
        return sum(bool(each[:, SIDE // 2 :].sum() > each[:, : SIDE // 2].sum()) for each in targets)

    assert on_the_right(flip=False) == 0
    assert 10 <= on_the_right(flip=True) <= 30
