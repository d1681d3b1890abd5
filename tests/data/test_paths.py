"""Files below a root: which, in what order, and that nothing outside is opened."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from salip_exp.data.paths import by_name, files_below, natural, require_folder, safe, stem
from salip_exp.errors import CaseError, DataError


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_numbers_in_names_count_as_numbers() -> None:
    assert sorted(["10_HC", "9_2HC", "9_HC", "100_HC"], key=natural) == ["9_2HC", "9_HC", "10_HC", "100_HC"]


@given(st.lists(st.text(max_size=8), unique=True), st.randoms())
def test_the_order_of_names_is_total_whatever_they_hold(names: list[str], random: object) -> None:
    shuffled = list(names)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert sorted(shuffled, key=natural) == sorted(names, key=natural)


def test_files_come_in_natural_order_and_hidden_ones_not_at_all(tmp_path: Path) -> None:
    for name in ("b/10.PNG", "b/9.png", "a.png", "b/.9.png", ".git/1.png", "__MACOSX/._a.png", "notes.txt"):
        touch(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    found = files_below(tmp_path, "**/*", {".png"})
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.png", "b/9.png", "b/10.PNG"]


@pytest.mark.fault("D15")
def test_d15_a_link_out_of_the_root_is_refused_unless_allowed(tmp_path: Path) -> None:
    outside, root = touch(tmp_path / "secret.png"), tmp_path / "root"
    root.mkdir()
    (root / "a.png").symlink_to(outside)
    with pytest.raises(CaseError, match=r"follow_links=true") as caught:
        safe(root / "a.png", root)
    assert caught.value.code == "E_PATH"
    assert safe(root / "a.png", root, follow_links=True) == root / "a.png"


@pytest.mark.fault("D15")
def test_d15_a_folder_linked_from_outside_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "other" / "a.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "other")
    with pytest.raises(CaseError, match="leads out of"):
        safe(root / "images" / "a.png", root)


@pytest.mark.parametrize("target", ["gone.png", "a.png", "b.png"])
@pytest.mark.fault("D15")
def test_d15_broken_and_circular_links_are_refused(tmp_path: Path, target: str) -> None:
    (tmp_path / "a.png").symlink_to(tmp_path / target)
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    assert tmp_path / "a.png" in files_below(tmp_path, "*", {".png"})
    with pytest.raises(CaseError, match="leads nowhere") as caught:
        safe(tmp_path / "a.png", tmp_path)
    assert caught.value.code == "E_PATH"


@pytest.mark.fault("D15")
def test_d15_a_link_within_the_root_and_a_linked_root_are_fine(tmp_path: Path) -> None:
    touch(tmp_path / "root" / "a.png")
    (tmp_path / "root" / "b.png").symlink_to("a.png")
    (tmp_path / "link").symlink_to(tmp_path / "root")
    assert safe(tmp_path / "link" / "b.png", tmp_path / "link")


@pytest.mark.fault("D15")
def test_d15_a_folder_that_links_to_itself_ends_and_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    assert files_below(tmp_path, "**/*", {".png"}) == [tmp_path / "a" / "1.png", tmp_path / "a" / "again"]
    with pytest.raises(CaseError, match="leads in a circle"):
        safe(tmp_path / "a" / "again", tmp_path)


@pytest.mark.fault("D15")
def test_d15_a_folder_linked_from_outside_is_entered_only_when_allowed(tmp_path: Path) -> None:
    touch(tmp_path / "other" / "1.png")
    root = tmp_path / "root"
    root.mkdir()
    (root / "images").symlink_to(tmp_path / "other")
    assert files_below(root, "images/*", {".png"}) == [root / "images"]
    assert files_below(root, "images/*", {".png"}, follow_links=True) == [root / "images" / "1.png"]


@pytest.mark.parametrize("folder", ["gone", "file", "n" * 5000])
@pytest.mark.fault("D17")
def test_d17_a_root_that_is_no_folder_names_the_layout(tmp_path: Path, folder: str) -> None:
    touch(tmp_path / "file")
    with pytest.raises(DataError, match="THE LAYOUT"):
        require_folder(tmp_path / folder, "THE LAYOUT")


@pytest.mark.parametrize("names", [("a.png", "a.jpg"), ("Scan.png", "scan.png"), ("a.nii", "a.nii.gz")])
@pytest.mark.fault("D16")
def test_d16_two_files_of_one_name_are_both_named(names: tuple[str, str]) -> None:
    with pytest.raises(DataError) as caught:
        by_name([Path("m") / name for name in names], stem)
    assert all(str(Path("m") / name) in str(caught.value) for name in names)


@pytest.mark.parametrize(
    ("name", "expected"), [("a.nii.gz", "a"), ("a.b.NII.GZ", "a.b"), ("a.nii", "a"), ("a.png", "a")]
)
def test_a_compressed_volume_has_one_ending(name: str, expected: str) -> None:
    assert stem(Path(name)) == expected


@pytest.mark.fault("N6")
def test_n6_names_composed_in_two_ways_are_one_name(tmp_path: Path) -> None:
    composed, apart = (unicodedata.normalize(form, "Müller_é") for form in ("NFC", "NFD"))
    image, mask = touch(tmp_path / "a" / f"{composed}.png"), touch(tmp_path / "b" / f"{apart}.png")
    assert composed != apart
    assert by_name([image], stem).keys() == by_name([mask], stem).keys() == {composed}
    with pytest.raises(DataError, match="have one name"):
        by_name([image, mask], stem)
    assert files_below(tmp_path, f"b/{composed}*", {".png"}) == [mask]
