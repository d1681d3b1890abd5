"""What is no regular file, and what is larger or deeper than anything meant for people, is refused at once by name."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from salip_exp import _files
from salip_exp._files import DEPTH, JSON_VALUES, bounded_yaml, from_json, open_file, read_file, read_small
from salip_exp._runs.folder import State, read_run
from salip_exp._settings.folders import File

PATIENCE_S = 120


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """What waits for the other end of a FIFO is ended by a signal, and fails its test."""

    def late(number: int, frame: object) -> None:
        raise AssertionError("it waited")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link_to_fifo(path: Path) -> None:
    os.mkfifo(path.with_name("a pipe"))
    path.symlink_to(path.with_name("a pipe"))


def empty_folder(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def bound_socket(path: Path) -> None:
    place = Path.cwd()
    os.chdir(path.parent)  # a socket's address holds 107 characters
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)
    os.chdir(place)


ODD = [
    pytest.param(fifo, "a FIFO", id="fifo"),
    pytest.param(link_to_fifo, "a FIFO", id="link"),
    pytest.param(empty_folder, "a folder", id="folder"),
    pytest.param(device, "a device", id="device"),
    pytest.param(bound_socket, "a socket", id="socket"),
]


@pytest.mark.fault("B1")
@pytest.mark.parametrize(("make", "kind"), ODD)
def test_only_regular_files_are_opened(make: Callable[[Path], None], kind: str, tmp_path: Path) -> None:
    make(tmp_path / "odd")
    with pytest.raises(OSError, match=f"it is {kind} and no regular file"):
        open_file(tmp_path / "odd", 10)


@pytest.mark.fault("B1")
def test_what_takes_a_files_place_between_look_and_opening_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_text("x")
    original = os.open

    def swapped(name: Any, *given: Any) -> int:
        path.unlink()
        os.mkfifo(path)
        return original(name, *given)

    monkeypatch.setattr(_files.os, "open", swapped)
    with pytest.raises(OSError, match="it is a FIFO"):
        open_file(path, 10)


@pytest.mark.ci
@pytest.mark.fault("B1")
@pytest.mark.parametrize(("make", "kind"), [each for each in ODD if each.id != "folder"])
def test_images_and_masks_that_are_no_files_are_told_and_the_rest_is_scored(
    make: Callable[[Path], None],
    kind: str,
    data: Path,
    typed: Any,
    folder: tuple[str, ...],
    helpers: Any,
    tmp_path: Path,
) -> None:
    for odd in (data / "images" / "good_1.png", data / "masks" / "good_2_mask.png"):
        odd.unlink()
        make(odd)
    ended = typed(*folder, "dataset.root=data", "dataset.files.follow_links=true", "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    told = {each["case_id"]: each["reason"] for each in manifest["data"]["excluded"]}
    assert set(helpers.rows(tmp_path / "run")) == {"good_0", "good_3"}
    assert set(told) == {"good_1", "good_2"}
    assert kind in told["good_1"]


@pytest.mark.fault("B1")
@pytest.mark.parametrize("key", ["vdt.file", "dataset.subset", "tuned"])
@pytest.mark.parametrize(("make", "kind"), ODD)
def test_files_that_settings_name_must_be_files(
    make: Callable[[Path], None], kind: str, key: str, data: Path, typed: Any, quick: tuple[str, ...], tmp_path: Path
) -> None:
    make(tmp_path / "given.txt")
    text = [] if key == "vdt.file" else ['vdt.sentences=["a bright oval"]']
    ended = typed("dataset=folder", "dataset.root=data", *text, f"{key}=given.txt", *quick)
    assert ended.code in (2, 3)
    assert f"{key}=given.txt cannot be read" in ended.complaint
    assert f"it is {kind} and no regular file" in ended.complaint


@pytest.mark.fault("B1")
@pytest.mark.parametrize("name", [File.summary, File.manifest, File.status, File.pictures, File.config])
def test_a_run_folder_with_fifos_is_read_as_what_is_left(name: File, fakes: Any, tmp_path: Path) -> None:
    place = tmp_path / "outputs" / "fake" / "run"
    fakes.run_fake(place, [fakes.make_case(i, f"c{i}") for i in range(2)])
    for gone in (place / name, place / "cases" / "c0.json", *(place / "figures").iterdir()):
        gone.unlink()
        os.mkfifo(gone)
    assert read_run(place).unreadable == 1


@pytest.mark.fault("B2")
@pytest.mark.parametrize("content", [b"[" * 200, b'{"a":' * 5000, b"[" + b"[]," * JSON_VALUES + b"0]", b"0" * 5000])
def test_json_is_bounded_before_it_is_read(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    if not content.startswith(b"0"):
        monkeypatch.setattr(_files.json, "loads", lambda text: pytest.fail("it was read"))
    with pytest.raises(ValueError, match=r"nested too deeply|more than|digits|Extra data"):
        from_json(content)


@pytest.mark.fault("S5", "S6", "B2")
@pytest.mark.parametrize("number", ["9" * 400, "-1" + "0" * 310, "1e400", "-1e999", "NaN", "Infinity", "-Infinity"])
def test_json_holds_finite_numbers(number: str, fakes: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it holds"):
        from_json(f'{{"dsc": [{number}]}}')
    place = tmp_path / "fake" / "run"
    fakes.run_fake(place, [fakes.make_case(0, "c0")])
    for name in ("cases/c0.json", "summary.json"):
        text = (place / name).read_text("utf-8")
        damaged = re.sub(r"-?\b\d+\.\d+\b", number, text)
        assert damaged != text
        (place / name).write_text(damaged, "utf-8")
        assert read_run(place).label is State.damaged


@pytest.mark.fault("B2")
def test_brackets_in_texts_are_no_levels() -> None:
    text = json.dumps({"a": "[{" * 300, "b\\": [[1]], 'c"': "\\"})
    assert from_json(text) == json.loads(text)
    deep = "[" * DEPTH + "]" * DEPTH
    assert from_json(deep) == json.loads(deep)


@pytest.mark.fault("B2")
def test_a_file_that_is_larger_than_its_limit_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as stream:
        stream.truncate(1 << 40)
    for read in (read_small, lambda each: read_file(each, 1 << 20)):
        with pytest.raises(ValueError, match=r"it is larger than (16|1) MB, which is the limit"):
            read(path)


@pytest.mark.fault("B2")
def test_a_file_that_lies_about_its_size_is_read_to_the_limit_alone() -> None:
    endless = Path("/proc/self/environ")
    if not endless.exists():
        pytest.skip("no file here that says it is empty and is not")
    assert endless.stat().st_size == 0
    with pytest.raises(ValueError, match="larger than"):
        read_file(endless, 3)


@pytest.mark.ci
@pytest.mark.fault("B2")
@pytest.mark.parametrize("where", ["vdt.sentences", "vdt.file"])
def test_a_sentence_of_megabytes_is_refused_before_it_is_taken_apart(
    where: str, typed: Any, tmp_path: Path, quick: tuple[str, ...]
) -> None:
    long = "x" * 60_000
    (tmp_path / "text.txt").write_text(f"an oval\n{long}\n")
    value = f'["an oval","{long}"]' if where == "vdt.sentences" else "text.txt"
    ended = typed("dataset=phantom_hc18", "dataset.phantom.n=1", "vdt=custom", f"{where}={value}", *quick)
    assert ended.code == 2
    assert "a sentence of 60,000 characters (number 2) and the limit is 10,000" in ended.complaint


LAUGHS = "\n".join(["a0: &a0 [x, x, x, x, x, x, x, x, x]"] + [
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
])  # fmt: skip
YAMLS = {
    "aliases": LAUGHS,
    "itself": "a: &a [*a]",
    "deep": "a: " + "[" * 200 + "]" * 200,
    "many": "a: [" + "1," * 21_000 + "]",
    "large": "a: " + "x" * (1 << 20),
}


@pytest.mark.fault("B2")
@pytest.mark.parametrize("name", YAMLS)
def test_yaml_of_a_configuration_folder_is_bounded_before_hydra_reads_it(
    name: str, typed: Any, tmp_path: Path, quick: tuple[str, ...]
) -> None:
    (tmp_path / "mine" / "vdt").mkdir(parents=True)
    (tmp_path / "mine" / "vdt" / "odd.yaml").write_text(YAMLS[name] + "\n")
    ended = typed("--config-dir", "mine", "vdt=odd", *quick)
    assert ended.code == 2
    assert ("odd.yaml cannot be read (it " in ended.complaint and "more than 20,000 values" in ended.complaint) or (
        name == "large" and "it is larger than 1 MB" in ended.complaint
    )


@pytest.mark.fault("B1")
def test_a_fifo_in_a_configuration_folder_is_refused(typed: Any, tmp_path: Path, quick: tuple[str, ...]) -> None:
    (tmp_path / "mine" / "vdt").mkdir(parents=True)
    os.mkfifo(tmp_path / "mine" / "vdt" / "odd.yaml")
    ended = typed("--config-dir", "mine", "vdt=odd", *quick)
    assert ended.code == 2


@pytest.mark.fault("B2")
def test_yaml_with_aliases_that_people_write_is_read(tmp_path: Path) -> None:
    assert bounded_yaml(b"a: &a {b: 1}\nc: *a\nd: [*a, *a]\n").startswith("a:")


@pytest.mark.ci
@pytest.mark.fault("B1")
def test_a_fifo_in_place_of_what_a_run_was_told_keeps_nobody_waiting(
    typed: Any, helpers: Any, data: Path, tmp_path: Path
) -> None:
    told = (*helpers.FOLDER, f"dataset.root={data}", "cache=off")
    assert typed(*told).code == 0
    run = helpers.newest(tmp_path)
    for path in (run / "config.yaml", run / ".hydra" / "overrides.yaml"):
        path.unlink()
        os.mkfifo(path)
    assert typed("task=report").code == 0
    assert (run / "report.html").stat().st_size > 10_000
    assert typed(*told, "resume=true").code == 2
