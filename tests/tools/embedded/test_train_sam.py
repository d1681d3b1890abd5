"""What the embedded SAM is asked, and how its answers are judged."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from salip_exp.networks._embedded.networks import build_sam
from tools.embedded import train_sam
from tools.embedded.scenes import Region


def disc(side: int, x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.indices((side, side))
    return np.asarray((columns - x) ** 2 + (rows - y) ** 2 <= radius**2)


def nested() -> list[Region]:
    return [
        Region(disc(200, 100, 100, 90), "whole", organ=False),
        Region(disc(200, 100, 100, 88), "nearly the whole", organ=False),
        Region(disc(200, 100, 100, 50), "organ", organ=True),
        Region(disc(200, 100, 100, 20), "part", organ=False),
        Region(disc(200, 20, 20, 10), "elsewhere", organ=False),
    ]


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6))
def test_the_meanings_of_a_point_are_distinct_contain_it_and_begin_with_the_organ(seed: int) -> None:
    chosen = train_sam.meanings(np.random.default_rng(seed), nested(), 100, 100)
    names = [region.name for region in chosen]
    assert names[0] == "organ"
    assert len(names) == 3
    assert not {"whole", "nearly the whole"} <= set(names)
    assert "elsewhere" not in names


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6))
def test_a_jittered_box_stays_in_the_frame_and_near_its_region(seed: int) -> None:
    mask = disc(200, 60, 120, 30)
    box = train_sam.jittered_box(np.random.default_rng(seed), mask)
    assert (box >= 0).all()
    assert (box <= 199).all()
    assert np.abs(box - [30, 90, 90, 150]).max() <= 30


def test_coverage_is_the_share_of_each_cell() -> None:
    mask = np.zeros((256, 200), bool)
    mask[:4, :2] = True
    cover = train_sam.coverage(mask)
    assert cover.shape == (64, 64)
    assert cover[0, 0] == 128
    assert cover.sum() == 128


def logits_of(mask: torch.Tensor) -> torch.Tensor:
    return torch.where(mask > 0.5, 20.0, -20.0)


def masks() -> torch.Tensor:
    return torch.stack([torch.from_numpy(disc(64, 32, 32, r)).float() for r in (8, 16, 28)])


def test_the_right_mask_costs_nothing_and_an_empty_one_much() -> None:
    inside = torch.ones(64, 64)
    assert train_sam.mask_loss(logits_of(masks()), masks(), inside).max() < 0.01
    assert train_sam.mask_loss(torch.full((3, 64, 64), -20.0), masks(), inside).min() > 0.9


def test_padding_is_not_judged() -> None:
    inside = torch.zeros(64, 64)
    inside[:, :32] = 1
    target = masks() * inside
    wrong_outside = torch.where(inside > 0, logits_of(target), torch.tensor(20.0))
    assert train_sam.mask_loss(wrong_outside, target, inside).max() < 0.01
    assert train_sam.overlap(wrong_outside, target, inside).min() > 0.99


def test_three_masks_may_mean_the_three_regions_in_any_order() -> None:
    inside, valid = torch.ones(64, 64), torch.ones(1, 3, dtype=torch.bool)
    perfect = torch.ones(1, 3)
    for order in ([0, 1, 2], [2, 0, 1], [1, 0, 2]):
        logits = logits_of(masks()[order])[None]
        assert train_sam.point_loss(logits, perfect, masks()[None], valid, inside) < 0.02
    same = logits_of(masks()[[0, 0, 0]])[None]
    assert train_sam.point_loss(same, perfect, masks()[None], valid, inside) > 0.3


def test_the_meaning_that_counts_more_costs_more_to_miss() -> None:
    inside, perfect = torch.ones(64, 64), torch.ones(1, 3)
    one_missing = logits_of(masks())[None]
    one_missing[0, 0] = -20.0
    light, heavy = (
        train_sam.point_loss(one_missing, perfect, masks()[None], torch.tensor([[weight, 1.0, 1.0]]), inside)
        for weight in (1.0, 3.0)
    )
    assert heavy > 1.2 * light


def test_a_score_that_flatters_its_mask_costs() -> None:
    inside, valid = torch.ones(64, 64), torch.ones(1, 3, dtype=torch.bool)
    bad = torch.full((1, 3, 64, 64), -20.0)
    honest, flattering = (
        train_sam.point_loss(bad, torch.full((1, 3), score), masks()[None], valid, inside) for score in (0.0, 1.0)
    )
    assert flattering - honest == 1.0


def test_pictures_are_normalised_as_the_original_does_and_padded_with_zeros() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (90, 256), dtype=np.uint8)
    net = build_sam()
    wanted = net.preprocess(torch.from_numpy(picture)[None, None].expand(1, 3, -1, -1).float())
    framed = torch.from_numpy(train_sam.framed(picture))[None]
    torch.testing.assert_close(train_sam.normalise(framed, torch.tensor([[90, 256]])), wanted, rtol=0, atol=1e-6)


def test_cells_are_inside_where_they_hold_any_picture() -> None:
    cells = train_sam.inside(torch.tensor([[90, 256], [256, 1]]), 64)
    covers = [train_sam.coverage(np.ones(shape, bool)) > 0 for shape in ((90, 256), (256, 1))]
    np.testing.assert_array_equal(cells.numpy() > 0, np.stack(covers))


def test_many_pictures_at_once_are_decoded_as_one_by_one() -> None:
    torch.manual_seed(0)
    net = build_sam()
    embeddings = torch.randn(3, 128, 16, 16)
    points, boxes = torch.rand(3, 2, 1, 2) * 255, torch.tensor([[[20.0, 30, 90, 120]]] * 3) + torch.rand(3, 1, 4)
    with torch.no_grad():
        masks, scores = train_sam.decode(net, embeddings, points, boxes)
        position = net.prompt_encoder.get_dense_pe()
        for i, embedding in enumerate(embeddings):
            for p, prompt in enumerate((*points[i], boxes[i])):
                point = (prompt[None], torch.ones(1, 1)) if p < 2 else None
                sparse, dense = net.prompt_encoder(points=point, boxes=None if p < 2 else prompt, masks=None)
                wanted = net.mask_decoder.predict_masks(embedding[None], position, sparse, dense)
                torch.testing.assert_close(masks[i, p], wanted[0][0], rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(scores[i, p], wanted[1][0], rtol=1e-4, atol=1e-4)


def test_what_stands_out_is_the_largest_thing_that_is_not_the_surroundings() -> None:
    around = Region(~disc(200, 100, 100, 90), "outside", organ=False)
    assert (train_sam.foreground([around, *nested()], (200, 200)) == disc(200, 100, 100, 90)).all()
    assert not train_sam.foreground([around], (200, 200)).any()


def test_sam_is_trained_on_what_it_gives_unprompted() -> None:
    torch.manual_seed(0)
    net = build_sam("tiny")
    with torch.no_grad():
        embeddings = net.image_encoder(torch.randn(2, 3, 256, 256))
        given_one_by_one = [
            net.mask_decoder(
                image_embeddings=each[None], image_pe=net.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=net.prompt_encoder(points=None, boxes=None, masks=None)[0],
                dense_prompt_embeddings=net.prompt_encoder(points=None, boxes=None, masks=None)[1],
                multimask_output=False,
            )[0][0, 0]
            for each in embeddings
        ]  # fmt: skip
        torch.testing.assert_close(
            train_sam.unprompted(net, embeddings), torch.stack(given_one_by_one), rtol=1e-4, atol=1e-4
        )
