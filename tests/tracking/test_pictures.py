"""Chosen cases with regions over them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from salip_exp._runs.listener import Run
from salip_exp._runs.records import read_record, record_path
from salip_exp._tracking.pictures import pictures
from salip_exp.config import CacheConfig, CacheMode, TrackerConfig
from salip_exp.errors import CaseError


@pytest.fixture(scope="module")
def folder(fakes, tmp_path_factory):
    place = tmp_path_factory.mktemp("pictures") / "run"
    assert fakes.run_fake(place, figures="worst:2,best:2") == 0
    return place


def shown(fakes, folder, refs=None, **changes):
    cases = fakes.default_cases()
    records = [read_record(record_path(folder, case.case_id)) for case in cases]
    refs = fakes.dataset(cases).refs if refs is None else refs
    dataset = replace(fakes.dataset(cases), refs=refs)
    run = Run(fakes.config(**changes), folder, [], dataset, fakes.Threshold(), "", {}, records)
    return pictures(run).pictures


def test_pictures_show_what_the_run_drew_with_masks_that_are_those_on_disk(fakes, folder):
    found = shown(fakes, folder)
    assert len(found) == 4
    assert found[0].caption.startswith("worst_01: case_")
    assert set(found[0].layers) == {"prediction", "ground truth", "candidates", "retrieved"}
    case = next(case for case in fakes.default_cases() if case.case_id in found[0].caption)
    assert (found[0].image == case.image).all()
    assert (found[0].layers["ground truth"].labels == case.mask).all()
    assert (found[0].layers["prediction"].labels == (case.image[..., 0] > 175)).all()
    assert found[0].layers["prediction"].names == {0: "background", 1: "disc"}


def test_candidates_are_numbered_from_the_largest_with_the_small_above(fakes, folder):
    picture = shown(fakes, folder)[0]
    labels = picture.layers["candidates"].labels
    assert set(np.unique(labels)) == {0, 1, 2}
    assert (labels[:6, :6] == 2).all()  # the corner is the smaller of the two
    assert (picture.layers["retrieved"].labels == picture.layers["prediction"].labels).all()


def test_there_are_as_many_as_asked_for_and_no_candidates_where_the_method_would_have_to_work(fakes, folder):
    found = shown(fakes, folder, tracker=TrackerConfig(images=1), cache=CacheConfig(mode=CacheMode.off))
    assert len(found) == 1
    assert set(found[0].layers) == {"prediction", "ground truth"}


def test_a_case_that_can_no_longer_be_read_is_left_out(fakes, folder):
    def gone():
        raise CaseError("E_READ", "gone")

    refs = [replace(ref, load=gone) for ref in fakes.dataset(fakes.default_cases()).refs]
    assert shown(fakes, folder, refs) == []


def test_the_most_doubtful_come_first(fakes, folder):
    cases = fakes.default_cases()
    records = [read_record(record_path(folder, case.case_id)) for case in cases]
    doubt = {fakes.config().score.doubt: 0.0}
    records = [
        replace(each, scores=each.scores | dict.fromkeys(doubt, i / 100), confidence=dict.fromkeys(doubt, i / 100))
        for i, each in enumerate(records)
    ]
    run = Run(fakes.config(), folder, [], fakes.dataset(cases), fakes.Threshold(), "", {}, records)
    found = [each.caption.split(": ")[1].split(",")[0] for each in pictures(run).pictures]
    assert found == sorted(found) and len(found) == 4
