"""What installed packages add is found by its name, checked, and kept from taking the place of what is built in."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from salip_exp import plugins
from salip_exp._settings.compose import compose
from salip_exp._settings.foreign import refuse_foreign_code
from salip_exp.cascade.options import VIEWS, ViewKind
from salip_exp.data.datasets import READERS
from salip_exp.errors import ConfigError, EnvironmentFault
from salip_exp.methods.traits import METHODS

Install = Callable[..., None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install entry points, each as kind, name and value."""

    def make(*added: tuple[str, str, str]) -> None:
        found = EntryPoints(EntryPoint(name, value, f"salip_exp.{kind}") for kind, name, value in added)
        monkeypatch.setattr(plugins, "_all", lambda: found)
        plugins.installed.cache_clear()

    yield make
    plugins.installed.cache_clear()


def test_names_that_are_built_in_come_first(install: Install) -> None:
    install(("methods", "b", "x:y"), ("methods", "a", "x:y"), ("views", "c", "x:y"))
    assert METHODS.names == [
        "salip",
        "sam_clip",
        "gt_sam",
        "unprompted_sam",
        "oracle",
        "saliency",
        "lsg_sam",
        "lsg_sam_reference",
        "clipseg",
        "grounded_sam",
        "sam3_text",
        "unet",
        "a",
        "b",
    ]
    assert VIEWS.names[-2:] == ["reverse_blur", "c"]


def test_a_name_that_is_built_in_is_refused(install: Install) -> None:
    install(("datasets", "hc18", "other:READER"))
    with pytest.raises(EnvironmentFault, match=r"other:READER calls .* hc18.*built-in") as caught:
        _ = READERS.names
    assert "\n" not in str(caught.value)


def test_a_name_of_two_packages_is_refused(install: Install) -> None:
    install(("views", "mine", "one:VIEW"), ("views", "mine", "two:VIEW"))
    with pytest.raises(EnvironmentFault, match=r"two packages .* mine \(one:VIEW and two:VIEW\)"):
        _ = VIEWS.names


def test_what_cannot_be_imported_is_named(install: Install) -> None:
    install(("methods", "lost", "no_such_package:METHOD"))
    with pytest.raises(EnvironmentFault, match=r"lost of salip_exp.methods cannot be imported .*ModuleNotFoundError"):
        METHODS["lost"]


def test_what_is_of_another_class_is_refused(install: Install) -> None:
    install(("methods", "odd", "pathlib:Path"))
    with pytest.raises(EnvironmentFault, match=r"pathlib:Path, called odd .* is no Traits of salip_exp.methods.traits"):
        METHODS["odd"]


def test_what_is_not_installed_is_refused_with_what_is() -> None:
    with pytest.raises(ConfigError, match="mine is none of the views that are installed: crop, crop_expand, box"):
        VIEWS["mine"]


def test_only_what_another_package_gives_has_an_origin(install: Install) -> None:
    assert METHODS.origin("salip") == ()
    install(("methods", "mine", "x:y"))
    assert METHODS.origin("mine") == ("mine",)  # of no package that has a version


def test_a_view_says_only_settings_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"view.angle is not a key"):
        ViewKind(lambda image, mask, box, config: image, ("angle",))


def test_the_yaml_of_a_package_is_found_and_replaces_none(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "with_yaml" / "conf" / "dataset"
    group.mkdir(parents=True)
    (tmp_path / "with_yaml" / "__init__.py").touch()
    (group / "mine.yaml").write_text("name: mine\nlayout: folder\n")
    (group / "hc18.yaml").write_text("name: taken\nlayout: folder\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(("datasets", "mine", "with_yaml:READER"))
    assert plugins.config_folders() == [tmp_path / "with_yaml" / "conf"]
    assert compose(["dataset=mine"]).dataset.name == "mine"
    assert compose(["dataset=hc18"]).dataset.name == "hc18"
    assert "with_yaml" not in sys.modules


def test_the_yaml_of_a_package_may_name_no_code(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "with_code" / "conf" / "dataset"
    group.mkdir(parents=True)
    (tmp_path / "with_code" / "__init__.py").touch()
    (group / "mine.yaml").write_text("# @package _global_\nhydra: {callbacks: {x: {_target_: os.system}}}\n")
    monkeypatch.syspath_prepend(tmp_path)
    install(("datasets", "mine", "with_code:READER"))
    for arguments in (["dataset=mine"], ["-m", "dataset=hc18,mine"], ["-m", "dataset=glob(m*)"]):
        with pytest.raises(ConfigError, match=r"hydra.callbacks.x._target_ is set by .*mine, and is not run"):
            refuse_foreign_code(arguments)
    refuse_foreign_code(["-m", "dataset=glob(h*)"])


def test_a_reader_and_phantoms_are_imported_only_where_they_are_asked_for(tmp_path: Path) -> None:
    code = """
import sys
from salip_exp.config import DatasetConfig, Phantom
from salip_exp.data.datasets import READERS, open_dataset
assert READERS.names
open_dataset(DatasetConfig("heads", "hc18", phantom=Phantom(1)), 1)
print(*sorted(each.rpartition(".")[2] for each in sys.modules if each.startswith("salip_exp.data.") and (
    "readers." in each or "phantoms." in each)))
"""
    environment = {"SALIP_CACHE": str(tmp_path), "PATH": ""}
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    assert ran.stdout.split() == ["hc18", "head", "head_anatomy", "head_geometry", "store"]
