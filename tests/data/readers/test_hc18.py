"""HC18: heads with pixel sizes, circumferences and fetuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from salip_exp.data._regions import fit_ellipse
from salip_exp.data.case import Dataset
from salip_exp.data.images import read_mask
from salip_exp.data.readers.hc18 import TABLE, _fetus_of, _read_measures
from salip_exp.errors import CaseError, DataError

Save = Callable[..., Path]
Open = Callable[..., Dataset]
HEADER = "filename,pixel size(mm),head circumference (mm)\n"


def test_a_head_is_filled_and_measured(tmp_path: Path, head: Save, opened: Open) -> None:
    head(tmp_path, "010_2HC")
    (tmp_path / TABLE).write_text(f"{HEADER}010_2HC.png,0.1,12.5\n")
    (ref,) = opened("hc18", tmp_path, "resize.side=160").refs
    case = ref.load()
    assert (case.case_id, case.subject, case.group, case.dataset) == ("010_2HC", "010", "Ultrasound", "hc18")
    assert case.image.shape == (108, 160, 3) and case.spacing == pytest.approx((0.05, 0.05))
    assert case.facts == {"head_circumference_mm": 12.5} and case.notes == ("outline filled",)
    assert case.mask is not None and case.mask.sum() == pytest.approx(4 * np.pi * 22 * 15, rel=0.06)


def test_a_head_that_leaves_the_frame_is_an_ellipse(tmp_path: Path, head: Save, opened: Open) -> None:
    head(tmp_path, centre=(12, 27))
    case = opened("hc18", tmp_path, "resize.mode=native").refs[0].load()
    assert case.mask is not None and case.mask[27, 0] and case.mask.sum() > 600
    assert any("ellipse fitted" in note for note in case.notes)


@pytest.mark.fault("D7")
def test_d7_an_outline_stays_one_where_filling_is_off(tmp_path: Path, head: Save, opened: Open) -> None:
    head(tmp_path)
    case = opened("hc18", tmp_path, "resize.mode=native", "fill=never").refs[0].load()
    assert case.mask is not None and case.mask.sum() < 200 and "was not filled" in case.notes[0]


@pytest.mark.fault("D4")
def test_d4_an_annotation_of_another_size_is_refused(tmp_path: Path, head: Save, picture: Save, opened: Open) -> None:
    head(tmp_path)
    picture(tmp_path / "training_set" / "001_HC_Annotation.png", np.zeros((27, 40), np.uint8))
    with pytest.raises(CaseError, match=r"\(54, 80\).*\(27, 40\)") as caught:
        opened("hc18", tmp_path).refs[0].load()
    assert caught.value.code == "E_SHAPE"


@pytest.mark.fault("D3")
def test_d3_a_head_without_annotation_is_left_out_by_name(tmp_path: Path, head: Save, opened: Open) -> None:
    head(tmp_path, "001_HC")
    head(tmp_path, "002_HC", mask=False)
    dataset = opened("hc18", tmp_path)
    assert [ref.case_id for ref in dataset.refs] == ["001_HC"]
    assert dataset.excluded == [("002_HC", "no mask")] and dataset.found == 2


def test_the_limit_leaves_the_count_of_images_as_it_is(tmp_path: Path, head: Save, opened: Open) -> None:
    for number in range(1, 5):
        head(tmp_path, f"00{number}_HC", mask=number != 4)
    dataset = opened("hc18", tmp_path, "limit=2")
    assert [ref.case_id for ref in dataset.refs] == ["001_HC", "002_HC"]
    assert dataset.found == 4 and dataset.excluded == [("004_HC", "no mask")]


@pytest.mark.parametrize("target", ["gone.png", "/etc/hostname"])
@pytest.mark.fault("D15")
def test_d15_an_annotation_that_links_elsewhere_is_refused(
    tmp_path: Path, head: Save, opened: Open, target: str
) -> None:
    head(tmp_path, "001_HC")
    head(tmp_path, "002_HC", mask=False)
    (tmp_path / "training_set" / "002_HC_Annotation.png").symlink_to(target)
    dataset = opened("hc18", tmp_path)
    assert len(dataset.refs) == 1
    assert dataset.excluded[0][0] == "002_HC" and dataset.excluded[0][1].startswith("E_PATH")


def test_heads_come_in_natural_order_and_read_without_a_table(tmp_path: Path, head: Save, opened: Open) -> None:
    for name in ("100_HC", "9_HC", "010_HC"):
        head(tmp_path, name)
    refs = opened("hc18", tmp_path).refs
    assert [ref.case_id for ref in refs] == ["9_HC", "010_HC", "100_HC"]
    case = refs[0].load()
    assert case.spacing is None and "pixel size unknown" in case.notes


@pytest.mark.parametrize(
    "row", ["001_HC.png,abc,3", "001_HC.png", "001_HC.png,0,3", "001_HC.png,nan,3", "001_HC.png,0.1,-2", "x,0.1,inf"]
)
def test_a_table_that_cannot_be_understood_is_refused(tmp_path: Path, row: str) -> None:
    (tmp_path / TABLE).write_text(HEADER + row + "\n")
    with pytest.raises(DataError, match="its columns are filename, pixel size"):
        _read_measures(tmp_path, tmp_path)


def test_a_table_may_have_blank_lines_and_no_circumference(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text(f"\ufeff{HEADER}\n a.png , 0.2 ,\n", "utf-8")
    measures = _read_measures(tmp_path / "training_set", tmp_path)
    assert measures["a.png"].pixel_mm == 0.2 and measures["a.png"].circumference_mm is None


@pytest.mark.parametrize(
    ("name", "fetus"), [("010_HC", "010"), ("010_2HC", "010"), ("1234_HC", "1234"), ("mine", "mine")]
)
def test_images_of_one_fetus_share_its_digits(name: str, fetus: str) -> None:
    assert _fetus_of(name) == fetus


def test_real_heads_are_filled_and_as_large_as_their_circumference_says(
    real: Callable[[str], Path], opened: Open
) -> None:
    refs = opened("hc18", real("HC18")).refs
    assert len(refs) == 213 and len({ref.subject for ref in refs}) < 213
    by_id = {ref.case_id: ref for ref in refs}
    for ref in [*refs[::12], by_id["346_HC"]]:
        case = ref.load()
        assert case.mask is not None and case.spacing is not None
        area = case.mask.sum() * case.spacing[0] * case.spacing[1]
        circle = case.facts["head_circumference_mm"] ** 2 / (4 * np.pi)
        assert 0.8 < area / circle < 1.05 or (ref.case_id == "346_HC" and 0.5 < area / circle < 1.05)
    assert any("ellipse fitted" in note for note in by_id["346_HC"].load().notes)


def test_real_outlines_measure_what_the_table_says(real: Callable[[str], Path]) -> None:
    root = real("HC18")
    measures = _read_measures(root / "training_set", root)
    excess = []
    for name in sorted(measures)[::15]:
        outline = root / "training_set" / name.replace(".png", "_Annotation.png")
        if not outline.is_file():
            continue
        annotation, _ = read_mask(outline)
        fitted = fit_ellipse(np.argwhere(annotation)[:, ::-1].astype(np.float64), max(annotation.shape))
        assert fitted is not None
        a, b = (length / 2 * measures[name].pixel_mm for length in fitted[1])
        around = np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))
        excess.append(around - (measures[name].circumference_mm or 0))
    assert len(excess) > 5 and np.abs(excess).max() < 0.1
