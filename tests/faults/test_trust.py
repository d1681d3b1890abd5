"""Numbers that are none, and what a command may be told by the files, streams and machines around it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from salip_exp._runs.folder import State, read_run
from salip_exp.networks.registry import EMBEDDED
from salip_exp.networks.unet import Trained, build_unet, weights_file

pytestmark = pytest.mark.ci

NAN, INF = float("nan"), float("inf")
PHANTOMS = (
    "dataset=phantom_hc18", "dataset.phantom.n=2", "dataset.resize.side=64", "sam.points_per_side=4", "progress=false",
    "figures=none", "device=cpu", "threads=1", "cache=off",
)  # fmt: skip


def given(network: str, path: Path) -> tuple[str, ...]:
    """Overrides that give a file of the user's by its hash."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return (f"{network}=tiny", f"{network}.weights={path}", f"{network}.sha256={digest}")


@pytest.mark.fault("E1")
@pytest.mark.parametrize(
    ("network", "tensor", "value"),
    [
        ("sam", "mask_decoder.iou_token.weight", NAN),
        ("sam", "image_encoder.pos_embed", -INF),
        ("clip", "visual.proj", INF),
        ("clip", "text_projection", NAN),
    ],
)
def test_weights_that_are_no_numbers_end_with_4_and_the_tensors_name(
    typed: Any, tmp_path: Path, network: str, tensor: str, value: float
) -> None:
    state = load_file(EMBEDDED / f"{network}_tiny.safetensors")
    state[tensor].view(-1)[3] = value
    save_file(state, tmp_path / "weights.safetensors")
    told = given(network, tmp_path / "weights.safetensors")
    ended = typed(*PHANTOMS, *told)
    assert ended.code == 4
    assert f"1 of {state[tensor].numel():,} values of the tensor {tensor} are NaN or infinite" in ended.complaint
    checked = typed(*PHANTOMS, *told, "task=check")
    assert checked.code == 4
    assert tensor in "".join(checked.out.replace("│", "").split())


@pytest.mark.fault("E1")
@pytest.mark.parametrize("value", [NAN, INF])
def test_a_unet_of_no_numbers_ends_with_4(typed: Any, tmp_path: Path, value: float) -> None:
    state = build_unet((4, 8)).state_dict()
    name = next(iter(state))
    state[name].view(-1)[0] = value
    (tmp_path / "unet.safetensors").write_bytes(weights_file(state, Trained(16, (4, 8), "phantom_hc18", (), "key")))
    ended = typed(*PHANTOMS, "method=unet", "unet.weights=unet.safetensors")
    assert ended.code == 4
    assert name in ended.complaint


def spoilt(module: torch.nn.Module, where: int | None = None) -> Any:
    """A forward whose answer, or one part of it, holds one NaN."""
    real = module.forward

    def forward(*args: Any, **options: Any) -> Any:
        answer = real(*args, **options)
        part = answer if where is None else answer[where]
        part[(0,) * part.ndim] = NAN
        return answer

    return forward


@pytest.mark.fault("E2")
@pytest.mark.parametrize(
    ("method", "part", "where", "said"),
    [
        ("salip", "sam.image_encoder", None, "SAM's embeddings of the image"),
        ("salip", "sam.mask_decoder", 0, "SAM's answers to the grid"),
        ("salip", "sam.mask_decoder", 1, "SAM's answers to the grid"),
        ("gt_sam", "sam.mask_decoder", 0, "SAM's logits of the organ"),
        ("unprompted_sam", "sam.mask_decoder", 0, "SAM's logits of the organ"),
        ("oracle", "sam.mask_decoder", 0, "SAM's answers to the grid"),
        ("salip", "clip.visual", None, "CLIP's embeddings of the views"),
    ],
)
def test_an_answer_that_is_no_number_fails_the_case_and_is_no_score_of_zero(
    typed: Any,
    helpers: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    part: str,
    where: int | None,
    said: str,
) -> None:
    from salip_exp._runs import lab

    network, _, name = part.partition(".")
    load = getattr(lab, f"load_{network}")

    def loaded(*args: Any) -> Any:
        found = load(*args)
        tower = getattr(found.net, name)
        tower.forward = spoilt(tower, where)
        return found

    monkeypatch.setattr(lab, f"load_{network}", loaded)
    ended = typed(*PHANTOMS, f"method={method}", "hydra.run.dir=run", "max_failed=1")
    assert ended.code in (0, 5), ended.err
    rows = helpers.rows(tmp_path / "run").values()
    assert [row["status"] for row in rows] == ["failed(E_NONFINITE)"] * 2
    assert all(said in row["message"] and row["dsc"] == "" for row in rows)


@pytest.mark.fault("E2")
def test_a_text_that_clip_makes_no_number_of_ends_with_4(typed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from salip_exp._runs import lab

    load = lab.load_clip

    def loaded(*args: Any) -> Any:
        found = load(*args)
        found.net.encode_text = lambda tokens: torch.full((len(tokens), 128), NAN)
        return found

    monkeypatch.setattr(lab, "load_clip", loaded)
    ended = typed(*PHANTOMS)
    assert ended.code == 4
    assert "embedding of the text" in ended.complaint


STREAMS = {
    "stdout closed": ">&-",
    "stderr closed": "2>&-",
    "both closed": "<&- >&- 2>&-",
    "stderr full": "2>/dev/full",
    "both full": ">/dev/full 2>&1",
    "broken pipe": "2>&1 | head -n 1",
    "latin-1": "",
    "ascii": "",
    "no locale": "",
}
SPELLING = {
    "latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "no locale": {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}


def in_shell(helpers: Any, place: Path, redirected: str, arguments: tuple[str, ...], **environment: str) -> int:
    """The exit code of a command whose streams lead elsewhere."""
    script = f'{{ "$@"; echo $? >code; }} {redirected}'
    command = ["sh", "-c", script, "sh", sys.executable, "-W", "ignore", "-m", "salip_exp", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    subprocess.run(command, cwd=place, env=environment, capture_output=True, check=False)
    return int((place / "code").read_text())


@pytest.mark.fault("E3")
@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_that_takes_no_words_costs_words_alone(helpers: Any, data: Path, case: str) -> None:
    place = data.parent
    told = (*helpers.FOLDER, "dataset.root=data", "hydra.run.dir=run", "cache=off", "progress=true")
    code = in_shell(helpers, place, STREAMS[case], told, **SPELLING.get(case, {}))
    assert code == 0
    status = json.loads((place / "run" / "status.json").read_text())
    assert (status["state"], status["done"]) == ("finished", 4)
    assert (place / "run" / "report.html").exists()
    assert len(helpers.rows(place / "run")) == 4
    assert "DSC" not in "".join(each.read_text("latin-1") for each in (place / "run" / "cases").glob("*"))


@pytest.mark.fault("E3")
@pytest.mark.parametrize("redirected", [">&-", ">/dev/full 2>&1", "2>&- | head -n 1"])
def test_what_is_told_ends_no_other_task(helpers: Any, data: Path, redirected: str) -> None:
    place = data.parent
    told = (*helpers.FOLDER, "dataset.root=data", "progress=true")
    study = ("task=tune", "tuning=random", "tuning.n_trials=1", "tuning.images=2", "tuning.draws=0")
    for task in (told, (*told, *study), ("task=report",), ("task=cache",), (*told, "task=check")):
        assert in_shell(helpers, place, redirected, task) == 0, task
    assert list(place.glob("outputs/folder/tune/*/study.html"))
    assert (place / "outputs" / "index.html").exists()
    assert in_shell(helpers, place, redirected, ("seed=x",)) == 2


@pytest.mark.fault("E3")
def test_what_is_told_ends_no_training_and_no_experiment(helpers: Any, data: Path) -> None:
    told = (*helpers.FOLDER, "dataset.root=data", "progress=true", "hydra.run.dir=training")
    train = ("task=train", "method=unet", "unet=quick", "unet.epochs=1", "unet.side=32", "unet.channels=[4,8]")
    table = ("+experiment=table6", "dataset.phantom.n=6", "dataset.volume.per_volume=1", "dataset.limit=1")
    for task in ((*told, *train), (*table, *helpers.QUICK, "progress=true", "hydra.run.dir=experiment")):
        assert in_shell(helpers, data.parent, ">/dev/full 2>&1", task) == 0, task
    scored = json.loads((data.parent / "training" / "test" / "status.json").read_text())
    assert scored["state"] == "finished" and (data.parent / "training" / "training.json").exists()
    assert (data.parent / "experiment" / "study.html").exists()


@pytest.mark.fault("E10")
def test_a_disabled_wandb_is_not_started_and_a_changed_folder_is_named(
    typed: Any, helpers: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = (*helpers.FOLDER, f"dataset.root={data}", "cache=off", "hydra.run.dir=run")
    ended = typed(*told, "hydra.job.chdir=true")
    assert ended.code == 2 and "hydra.job.chdir" in ended.complaint
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert typed(*told, "tracker=wandb").code == 0
    assert not list(tmp_path.glob("run/**/wandb"))


@pytest.mark.fault("E10")
def test_what_a_compiler_says_is_cut_and_a_run_without_a_prediction_is_not_green(
    typed: Any, helpers: Any, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(*_: Any) -> None:
        raise RuntimeError("generated code\n" * 10_000)

    monkeypatch.setattr("salip_exp.methods.salip.Salip.predict", explain)
    told = (*helpers.FOLDER, f"dataset.root={data}", "cache=off", "hydra.run.dir=outputs/folder/a/b")
    ended = typed(*told)
    assert ended.code == 5 and len(ended.complaint) < 5000
    assert read_run(tmp_path / "outputs/folder/a/b").label is State.failed
    assert "(1 failed)" in typed("task=report").out


@pytest.mark.fault("E4")
@pytest.mark.parametrize("preset", ["none", "disabled", "stdout", "default"])
def test_a_preset_of_hydras_for_logging_keeps_the_run_and_its_log(
    typed: Any, helpers: Any, data: Path, tmp_path: Path, preset: str
) -> None:
    told = (*helpers.FOLDER, f"dataset.root={data}", "hydra.run.dir=run", "cache=off")
    ended = typed(*told, f"hydra/job_logging={preset}")
    assert ended.code == 0, ended.err
    assert (tmp_path / "run" / "run.log").exists()
    assert sorted(path.name for path in (tmp_path / "run").glob("*.log")) == ["run.log"]


PASSWORD = "s3cret%2Fpass,word"
ADDRESS = f"postgresql+psycopg2://me:{PASSWORD}@db.example/studies?sslpassword=t0psecret"


@pytest.mark.fault("E5", "R10")
@pytest.mark.parametrize("way", ["argument", "quoted argument", "file", "environment"])
def test_a_password_reaches_the_database_and_no_file_or_stream(
    typed: Any, helpers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from salip_exp._tuning import database

    opened, real = [], database._open

    def opening(url: str, wait: float) -> Any:
        opened.append(database._whole(url))
        return real(f"sqlite:///{tmp_path / 'other.db'}", wait)

    monkeypatch.setattr(database, "_open", opening)
    for looks in ("_commands.tune", "_tuning.study"):  # whether it is there, and what of 0.1.0 it holds
        monkeypatch.setattr(f"salip_exp.{looks}.studies_in", lambda url, wait: [])
    monkeypatch.setenv("STORAGE", ADDRESS)
    mine = tmp_path / "mine" / "tuning"
    mine.mkdir(parents=True)
    (mine / "shared.yaml").write_text(f"sampler: random\nstorage: {ADDRESS}\n")
    said = {
        "argument": [f"tuning.storage={ADDRESS}"],
        "quoted argument": [f"tuning.storage='{ADDRESS}'"],
        "file": ["--config-dir=mine", "tuning=shared"],
        "environment": ["tuning.storage=${oc.env:STORAGE}"],
    }[way]
    told = (*helpers.FOLDER, f"dataset.root={helpers.good(tmp_path / 'data')}", "task=tune", "tuning.n_trials=1")
    ended = typed(*said, *told, "tuning.images=2", "tuning.draws=0", "hydra.run.dir=study")
    assert ended.code == 0, ended.err
    assert opened[0] == ADDRESS
    told_again = typed(*said, *told, "--cfg", "job")
    assert told_again.code == 0
    (tmp_path / "mine" / "tuning" / "shared.yaml").unlink()
    texts = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for text in (*texts, ended.out.encode(), ended.err.encode(), told_again.out.encode()):
        assert b"s3cret" not in text
        assert b"t0psecret" not in text
    assert any(b"me:***@db.example" in text for text in texts)


@pytest.mark.fault("E5")
def test_a_database_that_cannot_be_reached_is_named_without_its_password(
    typed: Any, helpers: Any, tmp_path: Path
) -> None:
    told = (*helpers.FOLDER, f"dataset.root={helpers.good(tmp_path / 'data')}", "task=tune", "tuning.images=2")
    for address in ("nosuch://me:s3cret@h/d", "postgresql+nosuch://me:s3c@ret@h/d"):
        ended = typed(*told, f"tuning.storage={address}")
        assert ended.code == 2
        assert "s3c" not in ended.complaint
    ended = typed(*told, "tuning.storage=postgresql://me:***@h/d")
    assert (ended.code, "has *** where a password belongs" in ended.complaint) == (2, True)


@pytest.mark.fault("E6")
@pytest.mark.parametrize("name", ["study (1)", "a,b=c", "ä {x} [y]", "it's", "two  blanks", "#1: a&b;c"])
def test_a_path_is_taken_as_typed_and_printed_so_that_it_can_be_typed_again(
    typed: Any, helpers: Any, tmp_path: Path, name: str
) -> None:
    import shlex

    helpers.good(tmp_path / name)
    told = (*helpers.FOLDER, f"dataset.root={tmp_path / name}", "method=gt_sam")
    ended = typed(*told, f"outputs={name} out")
    assert ended.code == 0, ended.err
    said = next(line for line in ended.out.splitlines() if line.startswith("next"))
    again = typed(*shlex.split(said)[2:])
    assert again.code == 0, again.err
    assert (tmp_path / f"{name} out" / "index.html").exists()
    manifest = next((tmp_path / f"{name} out").glob("*/*/*/manifest.json"))
    whole = typed(*shlex.split(json.loads(manifest.read_text())["command"])[1:])
    assert whole.code == 0, whole.err
    assert len(list((tmp_path / f"{name} out").glob("*/*/*/summary.json"))) == 2


GLOBAL = "# @package _global_\n"
WAYS = {
    "env_set": GLOBAL + "hydra: {job: {env_set: {GIT_EXTERNAL_DIFF: touch canary}}}\n",
    "env_set by package": "# @package hydra.job.env_set\nGIT_SSH_COMMAND: touch canary\n",
    "env_copy": GLOBAL + "hydra: {job: {env_copy: [AWS_SECRET_ACCESS_KEY]}}\n",
    "log file": GLOBAL + "hydra: {job_logging: {handlers: {file: {filename: canary, mode: w}}}}\n",
    "log handler": GLOBAL + "hydra: {job_logging: {handlers: {x: {class: logging.FileHandler, filename: canary}}}}\n",
    "log format": GLOBAL + "hydra: {job_logging: {formatters: {simple: {format: evil}}}}\n",
    "log level": GLOBAL + "hydra: {job_logging: {loggers: {salip_exp: {level: CRITICAL}}}}\n",
    "hydra's log": GLOBAL + "hydra: {hydra_logging: {handlers: {x: {class: logging.FileHandler, filename: canary}}}}\n",
    "callback": GLOBAL + "hydra: {callbacks: {x: {_target_: os.system, command: touch canary}}}\n",
    "callback of hydra's": GLOBAL
    + "hydra: {callbacks: {x: {_target_: hydra.experimental.callbacks.PickleJobInfoCallback}}}\n",
    "anchor": GLOBAL + "hydra: {job: {env_set: &a {A: b}}, callbacks: {x: *a}}\n",
    "launcher": GLOBAL + "hydra: {launcher: {_target_: os.system}}\n",
    "launcher by default": GLOBAL + "defaults: [{override /hydra/launcher: evil}]\n",
    "logging by default": GLOBAL + "defaults: [{override /hydra/job_logging: disabled}]\n",
    "group into hydra": GLOBAL + "defaults: [{/study@hydra.callbacks: callbacks}]\n",
    "sweeper": GLOBAL + "hydra: {sweeper: {_target_: os.system}}\n",
    "sweep parameter": GLOBAL + "hydra: {mode: MULTIRUN, sweeper: {params: {hydra.job.env_set.A: 'b,c'}}}\n",
    "sweep of groups": GLOBAL + "hydra: {mode: MULTIRUN, sweeper: {params: {+study: callbacks_global}}}\n",
    "sweep target": GLOBAL + "hydra: {sweeper: {params: {_target_: os.system}}}\n",
    "searchpath": GLOBAL + "hydra: {searchpath: ['file://other']}\n",
    "output_subdir": GLOBAL + "hydra: {output_subdir: ../..}\n",
    "overrides": GLOBAL + "hydra: {overrides: {task: [seed=9]}}\n",
    "help": GLOBAL + "hydra: {help: {template: evil}}\n",
    "job config": GLOBAL + "hydra: {job: {config: {override_dirname: {item_sep: /}}}}\n",
    "environment": GLOBAL + "outputs: ${oc.env:SECRET}\n",
    "environment in a default": GLOBAL + "defaults: [{/sam@sam: '${oc.env:SECRET}'}]\n",
    "environment, hidden": GLOBAL + "outputs: ${oc.decode:'${oc.env:SECRET}'}\n",
    "environment for hydra": GLOBAL + "hydra: {run: {dir: '${oc.env:SECRET}'}}\n",
    "create": GLOBAL + "hydra: {job: {name: '${oc.create:{a: b}}'}}\n",
    "hydra's own values": GLOBAL + "vdt: {sentences: ['${hydra:runtime.cwd}']}\n",
    "resolver by reference": GLOBAL + "vdt: {name: oc.env}\ndataset: {roi: '${${vdt.name}:SECRET}'}\n",
    "resolver in part by reference": GLOBAL + "vdt: {name: env}\noutputs: '${oc.${vdt.name}:SECRET}'\n",
    "resolver by a chain": GLOBAL + "figures: oc.env\nvdt: {name: figures}\noutputs: '${${${vdt.name}}:SECRET}'\n",
    "resolver too deep": GLOBAL + "outputs: '" + "${" * 5000 + "seed" + "}" * 5000 + ":SECRET}'\n",
    "resolver with blanks": GLOBAL + "outputs: '${ oc.env : SECRET }'\n",
    "resolver over two lines": GLOBAL + 'outputs: "${oc.env\\n:SECRET}"\n',
    "resolver behind an escape": GLOBAL + "outputs: '\\\\${oc.env:SECRET}'\n",
    "hydra as package": "# @package hydra.callbacks\nx: {_target_: os.system, command: touch canary}\n",
    "folder of the job": GLOBAL + "hydra: {job: {chdir: true}}\n",
    "sweep of hydra's groups": GLOBAL + "hydra: {sweeper: {params: {'hydra/launcher@x': basic}}}\n",
    "sweep that adds": GLOBAL + "hydra: {sweeper: {params: {+hydra.callbacks.x._target_: os.system}}}\n",
    "sweep that is sure": GLOBAL + "hydra: {sweeper: {params: {++hydra.job.chdir: true}}}\n",
    "tag of Python": GLOBAL + "seed: !!python/object/apply:os.system ['touch canary']\n",
    "tag of its own": GLOBAL + "seed: !include /etc/passwd\n",
    "two documents": GLOBAL + "seed: 7\n---\nhydra: {job: {env_set: {A: b}}}\n",
    "lines of Windows": GLOBAL.strip() + "\r\nhydra: {job: {env_set: {A: b}}}\r\n",
    "mark of the byte order": "\ufeff" + GLOBAL + "hydra: {job: {env_set: {A: b}}}\n",
    "merge": GLOBAL + "a: &a {_target_: os.system}\nhydra: {callbacks: {x: {<<: *a}}}\n",
    "server that is sent the key": GLOBAL + "vdt: {llm: {base_url: 'http://127.0.0.1:9/v1'}}\n",
    "server by package": "# @package vdt.llm\nbase_url: http://127.0.0.1:9/v1\n",
    "server by sweep": GLOBAL + "hydra: {sweeper: {params: {vdt.llm.base_url: 'http://127.0.0.1:9/v1'}}}\n",
}


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A shared configuration folder, yet without harm."""
    group = tmp_path / "mine" / "study"
    group.mkdir(parents=True)
    (group / "callbacks.yaml").write_text("x: {_target_: os.system, command: touch canary}\n")
    (group / "callbacks_global.yaml").write_text(WAYS["callback"])
    return group


def assert_refused(ended: Any, place: Path) -> None:
    assert ended.code == 2, ended.out
    assert ended.complaint
    assert "s3cret" not in ended.complaint
    assert not (place / "canary").exists()
    assert not (place / "outputs").exists()


@pytest.mark.fault("E7", "C5")
@pytest.mark.parametrize("way", WAYS)
def test_a_shared_folder_sets_nothing_of_hydras_but_plain_values(
    typed: Any, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-s3cret-0123456789")
    (shared / "evil.yaml").write_text(WAYS[way])
    assert_refused(typed("--config-dir=mine", "+study=evil", "task=cache"), tmp_path)


@pytest.mark.fault("E7")
@pytest.mark.parametrize("typed_server", [True, False])
def test_a_server_of_a_file_is_taken_where_no_key_is_lost(
    typed: Any, shared: Path, monkeypatch: pytest.MonkeyPatch, typed_server: bool
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    said = ["vdt.llm.base_url=http://127.0.0.1:8/v1"] if typed_server else []
    if typed_server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    (shared / "good.yaml").write_text(WAYS["server that is sent the key"])
    ended = typed("--config-dir=mine", "--cfg", "job", "+study=good", *said)
    assert ended.code == 0, ended.err
    assert f"http://127.0.0.1:{8 if typed_server else 9}/v1" in ended.out


@pytest.mark.fault("E7", "C5")
@pytest.mark.parametrize("name", ["hydra/launcher/evil", "hydra/job_logging/default", "dataset/hc18", "config"])
def test_a_shared_folder_replaces_no_file_of_the_programs_or_of_hydras(
    typed: Any, shared: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "mine" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("_target_: os.system\n")
    for said in ([], ["hydra/launcher=evil"]):
        assert_refused(typed("--config-dir=mine", *said, "task=cache"), tmp_path)


@pytest.mark.fault("E7", "C5")
@pytest.mark.parametrize(
    "said",
    [
        ["+hydra.job.env_set.A=b"],
        ["hydra={job:{env_set:{A:b}}}"],
        ["hydra.job_logging.handlers.file.filename=canary"],
        ["hydra.job_logging.handlers.file.mode=w"],
        ["+hydra.launcher.x={_target_:os.system}"],
        ["hydra.sweeper.params={_target_:os.system}"],
        ["hydra.sweeper.params={hydra.job.env_set.A:b}", "-m"],
        ["--experimental-rerun=config.pickle"],
    ],
)
def test_an_argument_sets_no_more_of_hydras_than_it_may(typed: Any, tmp_path: Path, said: list[str]) -> None:
    assert_refused(typed(*said, "task=cache"), tmp_path)


@pytest.mark.fault("E7")
def test_plain_values_of_hydras_are_taken(typed: Any, shared: Path, tmp_path: Path) -> None:
    (shared / "good.yaml").write_text(
        GLOBAL + "seed: 7\nhydra: {run: {dir: mine/run}, verbose: true, job: {name: me}}\n"
    )
    ended = typed("--config-dir=mine", "+study=good", "task=cache", "cache.folder=kept")
    assert ended.code == 0, ended.err
    assert (tmp_path / "mine" / "run" / ".hydra").is_dir()


class Evil(torch.nn.Module):
    """A network whose archive does something to whoever loads it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return (self.weight, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]
        print("the canary sings")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight


@pytest.mark.fault("E8", "W4", "R10")
@pytest.mark.filterwarnings("ignore")
def test_the_code_of_an_archive_that_nobody_registered_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.jit.script(Evil()).save(path)
    load = [sys.executable, "-c", f"import torch; torch.jit.load({str(path)!r})"]
    sung = subprocess.run(load, capture_output=True, text=True, check=True).stdout
    assert "the canary sings" in sung, "the archive is harmless, and the test shows nothing"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for task in ("run", "check"):
        said = (f"clip.weights={path}", f"clip.sha256={digest}", f"task={task}")
        command = [sys.executable, "-W", "ignore", "-m", "salip_exp", *PHANTOMS, "clip=vit_b_32", *said]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ended.returncode == 4, ended.stderr
        assert "canary" not in ended.stdout + ended.stderr


@pytest.mark.fault("E9")
@pytest.mark.parametrize(
    ("network", "name", "said"), [("sam", "vit_b", "do not fit its network"), ("clip", "vit_b_32", "holds SAM weights")]
)
def test_weights_of_a_wrapped_network_are_looked_at_without_what_wraps_them(
    typed: Any, tmp_path: Path, network: str, name: str, said: str
) -> None:
    path = tmp_path / "wrapped.pth"
    torch.save({"module.image_encoder.patch_embed.proj.weight": torch.zeros(768, 3, 16, 16)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    ended = typed(*PHANTOMS, f"{network}={name}", f"{network}.weights={path}", f"{network}.sha256={digest}")
    assert ended.code == 4
    assert said in ended.complaint
