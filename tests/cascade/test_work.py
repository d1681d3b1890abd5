"""Work that does not fit is done in halves, and only for lack of memory."""

from __future__ import annotations

import logging

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.cascade.candidates import Sampling, candidates
from salip_exp.cascade.embedding import embed
from salip_exp.cascade.everything import point_grids
from salip_exp.cascade.work import Counters, Limit, in_chunks, out_of_memory


@given(st.integers(0, 40), st.integers(1, 50), st.integers(1, 50))
@pytest.mark.fault("X6")
def test_all_is_done_once_in_order_however_little_fits(total, size, fits):
    def work(start: int, stop: int) -> list[int]:
        if stop - start > fits:
            raise torch.OutOfMemoryError
        return list(range(start, stop))

    limit = Limit("things", size)
    assert [each for part in in_chunks(total, limit, work) for each in part] == list(range(total))
    assert limit.size <= max(size, 1)
    assert total <= fits or limit.size <= fits or total < limit.size


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError()])
@pytest.mark.fault("X6")
def test_one_alone_that_does_not_fit_is_an_error(error):
    def work(start: int, stop: int) -> None:
        raise error

    with pytest.raises(type(error)):
        list(in_chunks(8, Limit("things", 8), work))


@pytest.mark.fault("X6")
def test_other_errors_are_not_tried_again():
    calls = []

    def work(start: int, stop: int) -> None:
        calls.append(start)
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        list(in_chunks(8, Limit("things", 8), work))
    assert calls == [0]


@pytest.mark.fault("X6")
def test_what_torch_says_of_a_real_lack_of_memory_is_understood():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60)
    assert out_of_memory(caught.value)
    assert not out_of_memory(RuntimeError("can't do that"))


@pytest.mark.fault("X6")
def test_a_table_made_in_halves_is_the_same_and_it_is_said(blob_sam, picture, monkeypatch, caplog):
    sampling = Sampling(point_grids(8, 0, 1), 64, 1.0)
    embedding = embed(blob_sam, picture, Counters())[0]
    whole = candidates(blob_sam, embedding, sampling, Counters())
    decoder = blob_sam.mask_decoder.forward

    def scarce(**prompts):
        if len(prompts["sparse_prompt_embeddings"]) > 8:
            raise torch.OutOfMemoryError
        return decoder(**prompts)

    monkeypatch.setattr(blob_sam.mask_decoder, "forward", scarce)
    with caplog.at_level(logging.WARNING):
        halves = candidates(blob_sam, embedding, sampling, Counters())
    assert "out of memory: points are computed 8 at a time" in caplog.text
    assert (whole.masks.digests == halves.masks.digests).all()
    assert (whole.predicted_iou == halves.predicted_iou).all()
