"""A run is cut into shards by subject, once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from salip_exp._runs._identity import Identity
from salip_exp._runs.shards import cut, digest, drop_plan, read_plan, write_plan
from salip_exp.config import ExecutorConfig
from salip_exp.data.case import CaseRef

SUBJECTS = st.lists(st.integers(1, 40), min_size=1, max_size=60)
IDENTITY = Identity("run", {"recipe": "r", "scores": []}, ["a", "b"])


def refs(subjects: list[int]) -> list[CaseRef]:
    return [CaseRef(f"{s}/{i}", "g", f"s{s}", lambda: None) for s, n in enumerate(subjects) for i in range(n)]


@given(SUBJECTS, st.integers(1, 64), st.none() | st.integers(1, 50))
def test_every_case_is_in_one_shard_and_every_subject_too(subjects, workers, most):
    cases = refs(subjects)
    shards = cut(cases, ExecutorConfig(shard_cases=most), workers)
    assert [each for shard in shards for each in shard] == [each.case_id for each in cases]
    homes = {(each.partition("/")[0], number) for number, shard in enumerate(shards) for each in shard}
    assert len(homes) == len(subjects)
    bound = most or 32
    assert all(len(shard) <= bound or len({each.partition("/")[0] for each in shard}) == 1 for shard in shards)


def test_workers_get_four_shards_each_of_32_cases_at_most():
    alone = [1] * 48
    assert len(cut(refs(alone), ExecutorConfig(), 4)) == 16
    assert {len(each) for each in cut(refs([1] * 54_000), ExecutorConfig(), 64)} == {32, 54_000 % 32 or 32}


def test_a_plan_is_read_as_it_was_written_and_a_new_one_has_other_claims(tmp_path):
    first = write_plan(tmp_path, IDENTITY, [["a"], ["b"]])
    assert read_plan(tmp_path) == first and first.of == digest(IDENTITY)
    place = tmp_path / "shards" / first.token
    assert place.is_dir()
    assert write_plan(tmp_path, IDENTITY, [["a", "b"]]) == first  # who comes second takes what is there
    assert [each.name for each in (tmp_path / "shards").iterdir() if each.is_dir()] == [first.token]
    drop_plan(tmp_path)
    second = write_plan(tmp_path, IDENTITY, [["a", "b"]])
    assert second.token != first.token and not place.exists()
    drop_plan(tmp_path)
    assert read_plan(tmp_path) is None and not (tmp_path / "shards").exists()


def test_a_plan_that_cannot_be_read_is_none(tmp_path):
    plan = write_plan(tmp_path, IDENTITY, [["a"]])
    (tmp_path / "shards" / "plan.json").write_text('{"token": "' + plan.token)
    assert read_plan(tmp_path) is None
