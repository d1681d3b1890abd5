"""Wrong configurations through the command line: exit 2, one line that names the key, nothing run and nothing left."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from salip_exp.cli import quoted

WRONG = {
    "C1": [(["+typo=1"], "the nearest is"), (["sam.point_per_side=8"], "the nearest is sam.points_per_side")],
    "C2": [
        (["area.threshold=1.5"], "area.threshold=1.5"),
        (["sam.points_per_side=0"], "1 to 256"),
        (["sam.points_per_side=1", "sam.crop_n_layers=1", "sam.crop_n_points_downscale_factor=2"], "at least 2"),
        (["dataset.k=0"], "dataset.k=0"),
        (["area.threshold=0"], "above 0"),
        (["area.threshold=nan"], "area.threshold=nan"),
        (["dataset.k=two"], "a whole number"),
    ],
    "C3": [
        (["task=tune", "+ablation=no_filter"], "area.enabled=false"),
        (["dataset.limit=1", "dataset.sample=1"], "exclude each other"),
        (["method=gt_sam", "dataset=folder", "dataset.files.masks=null"], "dataset.files.masks=null"),
        (["method=gt_sam", "tuning=random"], "none of the settings"),
    ],
    "C4": [
        (["vdt=custom"], "there is no text"),
        (["vdt.sentences=[]"], "there is no text"),
    ],
}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        pytest.param(overrides, said, marks=pytest.mark.fault(row, "R8", "R9"), id=f"{row}-{'-'.join(overrides)}")
        for row, cases in WRONG.items()
        for overrides, said in cases
    ],
)
def test_a_wrong_configuration_ends_with_2_and_leaves_nothing(
    typed: Any, tmp_path: Path, overrides: list[str], said: str
) -> None:
    ended = typed(*overrides)
    assert ended.code == 2
    assert said in ended.complaint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.ci
@pytest.mark.fault("C4")
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("absent.json", None, "cannot be read"),
        ("empty.json", "[]", "has no sentences"),
        ("hole.json", '["a", ""]', "number 2"),
        ("shape.json", '{"a": 1}', "list of sentences"),
        ("broken.json", '["a",\n"b"\n', "line"),
        ("long.txt", "word " * 90, "tokens"),
    ],
)
def test_a_text_that_clip_cannot_read_ends_with_2_and_is_found_by_the_check(
    typed: Any, tmp_path: Path, name: str, content: str | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    text = ("vdt=custom", f"vdt.file={name}", "dataset=phantom_hc18", "dataset.phantom.n=1", "progress=false")
    ended = typed(*text, "device=cpu")
    assert ended.code == 2
    assert said in ended.complaint
    checked = typed(*text, "task=check")
    assert checked.code == 2
    assert said in " ".join(checked.out.replace("│", "").split())


TARGETS = """# @package _global_
hydra:
  callbacks:
    evil: {_target_: pathlib.Path.touch, self: {_target_: pathlib.Path, _args_: [canary]}}
"""
LOGGING = """# @package _global_
hydra:
  job_logging:
    handlers:
      evil: {(): salip_exp._files.write_bytes, path: canary, data: x}
    root: {handlers: [evil]}
"""
HIDDEN = """# @package _global_
vdt: {name: {_target_: pathlib.Path, _args_: [canary]}}
hydra:
  callbacks: {evil: "${vdt.name}"}
"""


@pytest.mark.fault("C5", "R10")
@pytest.mark.parametrize("content", [TARGETS, LOGGING, HIDDEN])
@pytest.mark.parametrize("flags", [[], ["-m"], ["--cfg", "job"]])
def test_code_that_a_yaml_names_is_refused_and_not_run(
    typed: Any, tmp_path: Path, content: str, flags: list[str]
) -> None:
    group = tmp_path / "mine" / "study"
    group.mkdir(parents=True)
    (group / "evil.yaml").write_text(content)
    ended = typed(*flags, "--config-dir", "mine", "+study=evil", "task=cache")
    assert ended.code == 2
    assert ("is not run" in ended.complaint) is (content is not HIDDEN)  # which the schema refuses before
    assert not (tmp_path / "canary").exists()
    assert not (tmp_path / "outputs").exists()


@pytest.mark.fault("C5", "R10")
@pytest.mark.parametrize("name", ["with a blank", 'it\'s "quoted"', "100%", "ä,[b]"])
def test_code_that_a_yaml_names_is_refused_whatever_its_folder_is_called(typed: Any, tmp_path: Path, name: str) -> None:
    group = tmp_path / name / "study"
    group.mkdir(parents=True)
    (group / "evil.yaml").write_text(TARGETS)
    ended = typed("--config-dir", name, "+study=evil", "task=cache")
    assert ended.code == 2
    assert "is not run" in ended.complaint
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault("C5", "R10")
def test_a_folder_behind_another_hides_no_code(typed: Any, tmp_path: Path) -> None:
    group = tmp_path / "mine" / "study"
    group.mkdir(parents=True)
    (group / "evil.yaml").write_text(TARGETS)
    ended = typed("--config-dir", "mine", f"hydra.searchpath=[file://{tmp_path}]", "+study=evil", "task=cache")
    assert ended.code == 2
    assert "exclude each other" in ended.complaint
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault("C5", "R10")
@pytest.mark.parametrize(
    "overrides",
    [
        ["+hydra.callbacks.x._target_=os.system", "+hydra.callbacks.x.command='touch canary'"],
        ["hydra.launcher._target_=pathlib.Path"],
        ["-m", "hydra/launcher=basic", "hydra.launcher._target_=pathlib.Path,hydra._internal.core_plugins.x"],
        ["+sam._target_=os.system", "+sam.command='touch canary'"],
        ["hydra.job_logging.handlers.file.class=subprocess.Popen"],
        ["--config-path", ".", "--config-name", "config"],
    ],
)
def test_code_that_an_override_names_is_refused_and_not_run(typed: Any, tmp_path: Path, overrides: list[str]) -> None:
    ended = typed(*overrides)
    assert ended.code == 2
    assert ended.complaint
    assert not (tmp_path / "canary").exists()


@pytest.mark.fault("C5")
def test_a_yaml_of_the_users_own_that_names_no_code_is_taken(typed: Any, tmp_path: Path) -> None:
    group = tmp_path / "mine" / "study"
    group.mkdir(parents=True)
    (group / "good.yaml").write_text("# @package _global_\nseed: 7\nhydra: {job: {name: mine}}\n")
    ended = typed("--config-dir", "mine", "+study=good", "--cfg", "job")
    assert (ended.code, ended.err) == (0, "")
    assert "seed: 7" in ended.out


@pytest.mark.ci
@pytest.mark.fault("C6")
def test_tuning_images_that_are_to_be_scored_end_with_2(typed: Any, tmp_path: Path) -> None:
    (tmp_path / "tuned.yaml").write_text(
        "version: 1\nsam: {points_per_side: 4}\ntuned_on: {dataset: phantom_hc18, images: [001_HC]}\n"
    )
    (tmp_path / "ids.txt").write_text("001_HC\n")
    common = ("dataset=phantom_hc18", "dataset.phantom.n=2", "dataset.subset=ids.txt", "figures=none", "device=cpu")
    ended = typed(*common, "tuned=tuned.yaml", "progress=false", "cache=off")
    assert ended.code == 2
    assert "001_HC" in ended.complaint
    scored = typed(*common, "tuned=tuned.yaml", "progress=false", "tuning.score_tuning_images=true")
    assert scored.code == 0, scored.err
    assert "tun" in scored.out.lower()


@pytest.mark.fault("R9")
def test_what_a_shell_makes_of_arguments_is_never_a_traceback(typed: Any, tmp_path: Path) -> None:
    for argument in ("=", "a=b=c", "dataset=", "+", "~", "[", "seed={a:1}", "figures=worst:1,", "\x00=1", "é=ü"):
        ended = typed(argument)
        assert ended.code == 2, argument
        assert ended.complaint, argument
        assert quoted(argument)
    assert os.listdir(tmp_path) == []  # noqa: PTH208
