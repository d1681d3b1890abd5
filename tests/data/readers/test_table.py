"""Images and masks by a table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salip_exp.data.case import Dataset
from salip_exp.data.readers._table import from_table
from salip_exp.errors import DataError

Save = Callable[..., Path]
Open = Callable[..., Dataset]


@pytest.fixture
def listed(tmp_path: Path, picture: Save, opened: Open) -> Callable[[str], Dataset]:
    """The data set of a table over four pictures."""
    for name in ("x/a.png", "y/a.png", "b.png", "truth.png"):
        picture(tmp_path / "data" / name, np.zeros((12, 16), np.uint8))

    def read(text: str) -> Dataset:
        (tmp_path / "table.csv").write_text(text, "utf-8-sig")
        return opened("folder", tmp_path / "data", f"files.table={tmp_path / 'table.csv'}")

    return read


def test_a_table_says_what_belongs_together(listed: Callable[[str], Dataset]) -> None:
    dataset = listed("image,mask,group,subject\nx/a.png,truth.png,GE,p1\ny/a.png,,Philips,p2\n b.png , truth.png,GE,\n")
    assert [(ref.case_id, ref.group, ref.subject) for ref in dataset.refs] == [
        ("b", "GE", "b"), ("x/a", "GE", "p1"), ("y/a", "Philips", "p2"),
    ]  # fmt: skip
    assert [ref.load().mask is None for ref in dataset.refs] == [False, False, True]
    assert [ref.case_id for ref in listed("image,id\nx/a.png,one\ny/a.png,two\n").refs] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image,mask\nx/a.png,none.png\n", r"line 2: .*none\.png is not there"),
        ("image,mask\n,truth.png\n", "line 2: it names no image"),
        ("image\nx/a.png\nx/a.png\n", "line 3: its case has the name of that of line 2, 'x/a': add a column id"),
        ("picture,mask\nx/a.png,truth.png\n", "has the columns picture, mask: it wants image"),
        ("", "of no row"),
    ],
)
def test_a_table_that_cannot_be_used_says_where(listed: Callable[[str], Dataset], text: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        listed(text)


def test_a_table_leads_out_of_the_root_only_where_links_may(listed: Callable[[str], Dataset], tmp_path: Path) -> None:
    (tmp_path / "far.png").write_bytes((tmp_path / "data/b.png").read_bytes())
    dataset = listed(f"image\n{tmp_path / 'far.png'}\nb.png\n")
    assert len(dataset.refs) == 1 and dataset.excluded[0][1].startswith("E_PATH")


@pytest.mark.fault("B8")
def test_rows_are_counted_and_names_may_be_of_any_length(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image\n" + "a\n" * 500_000)
    with pytest.raises(DataError, match="500,001 rows, and 500,000 is the limit"):
        from_table(tmp_path / "t.csv", tmp_path)
    (tmp_path / "t.csv").write_text(f"image\n{'a' * 5000}\n")
    with pytest.raises(DataError, match="is not there"):
        from_table(tmp_path / "t.csv", tmp_path)


def test_a_table_that_lies_below_the_root_is_pointed_at(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "table.csv").write_text("image\na.png\n")
    with pytest.raises(DataError, match=r"table=table\.csv is not there, but .*/table\.csv is: give that"):
        opened("folder", tmp_path, "files.table=table.csv")
