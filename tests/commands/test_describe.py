"""`task=describe` as it is typed: a file that the next command takes, and a key that lies nowhere."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from salip_exp import cli
from salip_exp._commands.describe import command
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import ClipConfig, Config, DescribeConfig, LlmConfig, VdtConfig
from salip_exp.errors import ConfigError

KEY, PASSWORD = "sk-test-fedcba9876543210", "word-4321"


@pytest.fixture(scope="module")
def servers(module_at: Callable[[Path], ModuleType]) -> ModuleType:
    pytest.importorskip("openai")
    return module_at(Path(__file__).parents[1] / "describing" / "servers.py")


@pytest.fixture
def ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module_at: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    """Type a command in an empty folder, with a key in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return lambda *arguments: module_at(Path(__file__).parents[1] / "faults" / "conftest.py").in_process(
        arguments, capsys
    )


def everything_below(folder: Path) -> bytes:
    return b"\n".join(str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*"))


@pytest.mark.ci
@pytest.mark.fault("E5")
def test_a_description_is_used_by_the_command_that_it_names(ended: Any, servers: Any, tmp_path: Path) -> None:
    with servers.serving(lambda request, before: servers.says(f"{KEY} says: {servers.listed()}")) as server:
        url = server.url.replace("//", f"//user:{PASSWORD}@")
        told = "task=describe", "organ=liver", "modality=abdominal CT", f"vdt.llm.base_url={url}", "vdt.llm.n=4"
        done = ended(*told, "vdt.llm.model=m:8b")
    assert done.code == 0, done.err
    assert server.keys  # the key, or the password of the address
    assert all(each in done.out for each in servers.LOOKS)
    (path,) = (tmp_path / "outputs" / "describe").glob("liver_m-8b_*.yaml")
    following = next(line for line in done.out.splitlines() if line.startswith("next")).split("salip_exp", 1)[1]
    words = [each.replace("DIR", str(tmp_path)) for each in shlex.split(following)]
    assert typed(compose([cli.quoted(each) for each in words])).vdt.file == str(path.relative_to(tmp_path))
    checked = ended("task=check", "dataset=phantom_hc18", "dataset.phantom.n=1", f"vdt.file={path}", "progress=false")
    assert checked.code == 0
    assert "4 sentences" in " ".join(checked.out.replace("│", "").split())
    left = everything_below(tmp_path)
    assert KEY.encode() not in left + (done.out + done.err).encode()
    assert PASSWORD.encode() not in left + (done.out + done.err).encode()


@pytest.mark.ci
@pytest.mark.fault("E5")
def test_a_server_that_quotes_the_key_leaves_it_nowhere(ended: Any, servers: Any, tmp_path: Path) -> None:
    with servers.serving(lambda request, before: servers.refuses(401, f"{KEY} is no key")) as server:
        told = "task=describe", "organ=liver", "vdt.llm.model=m", f"vdt.llm.base_url={server.url}"
        done = ended(*told, "vdt.llm.retries=0")
    assert done.code == 6
    assert "*** is no key" in done.err and done.err.count("\n") == 1
    assert KEY.encode() not in everything_below(tmp_path) + (done.out + done.err).encode()
    assert not list(tmp_path.rglob("liver*.yaml"))


def test_nothing_is_written_over(servers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    path = tmp_path / "new" / "liver.yaml"
    with servers.serving(servers.openai) as server:
        llm = LlmConfig(base_url=server.url, model="m", n=4)
        text, told = VdtConfig(llm=llm), DescribeConfig("liver", file=str(path))
        config = Config(vdt=text, clip=ClipConfig("tiny"), describe=told)
        assert command(config, tmp_path, []) == 0
        before = path.read_bytes()
        with pytest.raises(ConfigError, match="is there already"):
            command(config, tmp_path, [])
    assert path.read_bytes() == before
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (["task=describe", "vdt.llm.model=m"], "add organ=liver"),
        (["task=describe", "organ=liver"], "add vdt.llm.model=NAME"),
        (["task=describe", "organ=liver", "vdt.llm.model=m", "describe.file=a.txt"], "call it .yaml"),
        (["describe.organ=liver"], "is for task=describe"),
        (["organ=liver"], "organ"),
    ],
)
def test_what_is_missing_or_does_not_belong_is_told(told: list[str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        typed(compose([cli.quoted(each) for each in cli.spelt_out(told)]))
