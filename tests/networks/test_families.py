"""A network of each family in a whole run: three images end to end, then from the cache, then resumed."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from salip_exp import cli
from salip_exp._runs.folder import read_run
from salip_exp._runs.lab import Lab
from salip_exp._runs.records import prediction_path
from salip_exp._runs.runner import run
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp.config import Config
from salip_exp.methods.traits import METHODS
from tests.networks.folders import (
    SAMS,
    clipseg_folder,
    mobile_sam_file,
    open_clip_folder,
    sam_folder,
    spotter_folder,
    transformers_folder,
)
from tests.networks.hub import Hub

RIVALS = {"owlv2": "grounded_sam", "sam3": "sam3_text", "clipseg": "clipseg"}

MANIFESTS = "outputs/cells/*/*/*/manifest.json"


@pytest.fixture(params=["siglip", "bert", "clip of transformers", *SAMS, "of a hub", *RIVALS])
def chosen(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: Hub) -> list[str]:
    """What chooses a network of the family."""
    folder = tmp_path / "net"
    if request.param == "clip of transformers":
        return ["clip=pubmedclip", f"clip.weights={transformers_folder(folder, 'clip')}"]
    if request.param == "of a hub":
        commit = hub.add("acme/net", transformers_folder(folder, "clip"))
        return [f"clip=hf:acme/net@{commit}"]
    if method := RIVALS.get(request.param):
        folder = clipseg_folder(folder) if method == "clipseg" else spotter_folder(folder, request.param)
        lowest = [] if method == "clipseg" else ["clip.min_score=0"]
        return [f"method={method}", f"clip={request.param}", f"clip.weights={folder}", *lowest]
    if request.param in SAMS:
        kept = ["sam.pred_iou_thresh=0", "sam.stability_score_thresh=0", "sam.points_per_side=4"]
        return ["sam=sam2_1_tiny", f"sam.weights={sam_folder(folder, request.param)}", "clip=tiny", *kept]
    name = {"siglip": "siglip2", "bert": "biomedclip"}[request.param]
    return [f"clip={name}", f"clip.weights={open_clip_folder(folder, request.param, monkeypatch)}"]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Three ovals with their masks; phantoms take a minute to be made."""
    rows, columns = np.mgrid[:96, :96]
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number in range(3):
        inside = ((rows - 48) / 30) ** 2 + ((columns - 40 - 4 * number) / 20) ** 2 < 1
        noise = np.random.default_rng(number).integers(0, 40, inside.shape)
        Image.fromarray((noise + 180 * inside).astype(np.uint8)).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(inside.astype(np.uint8) * 255).save(tmp_path / "masks" / f"{number}.png")
    return tmp_path


@pytest.mark.ci
def test_three_images_end_to_end_then_from_the_cache_then_resumed(
    chosen: list[str], images: Path, tmp_path: Path
) -> None:
    text = "vdt.sentences=['big oval', 'the head']"
    where = [f"cache.folder={tmp_path / 'cache'}", "device=cpu", "sam.points_per_side=4", "confidence=none"]
    config = typed(
        compose(
            [
                "dataset=folder",
                f"dataset.root={images}",
                "sam=tiny",
                *chosen,
                "vdt=custom",
                text,
                *where,
                "progress=false",
            ]
        )
    )
    first, second = _three_times(config, tmp_path)
    assert not any(second["counters"].get(each, 0) for each in ("clip_images", "encoder_calls"))
    cached = [second["cache"][stage]["hits_disk"] for stage in ("view", "organ") if stage in second["cache"]]
    assert sum(cached) >= 3
    assert first["weights"] == second["weights"]
    assert set(first["weights"]) == set(METHODS[config.method].networks)


def _three_times(config: Config, tmp_path: Path) -> list[dict[str, Any]]:
    """Three images, in a folder `once`, from the cache in another, and resumed: the manifests of the first two."""
    once, again = tmp_path / "once", tmp_path / "again"
    tables = []
    for folder in (once, again, once):
        resumed = replace(config, resume=folder.exists())
        assert run(resumed, folder, ["salip_exp"], Lab(), []) == 0
        tables.append((folder / "cases.csv").read_text())
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (once, again)]
    assert manifests[0]["resumed"]["reused"] == 3 and len(tables[0].splitlines()) == 4
    return manifests


@pytest.mark.ci
def test_mobile_sam_of_a_file_runs_phantoms_as_its_library_predicts_them(tmp_path: Path) -> None:
    """Three phantoms end to end, from the cache and resumed; the masks of their boxes are those of kornia's predictor.

    At 1024 x 1024, where kornia has nothing to resize: of other sizes it rounds the short side down, and resizes in
    float32 where SAM's own predictor resizes bytes. Its embeddings differ in the last bits (below 1e-5 of 4.2), and a
    mask may in 1 pixel of 100,000, since it normalises numbers from 0 to 1.
    """
    net, sha256 = mobile_sam_file(tmp_path / "mine.pt")
    quick = ["sam.points_per_side=4", "sam.pred_iou_thresh=0", "sam.stability_score_thresh=0", "area.enabled=false"]
    rest = [f"cache.folder={tmp_path / 'cache'}", "device=cpu", "confidence=none", "figures=none", "progress=false"]
    data = ["dataset=phantom_hc18", "dataset.phantom.n=3", "dataset.resize.mode=squash", "dataset.resize.side=1024"]
    mine = ["sam=mobile_sam", f"sam.weights={tmp_path / 'mine.pt'}", f"sam.sha256={sha256}"]
    config = typed(compose([*data, *mine, *quick, *rest]))
    first, second = _three_times(config, tmp_path)
    assert first["counters"]["encoder_calls"] == 3 and not second["counters"].get("encoder_calls", 0)
    assert first["weights"]["sam"]["sha256"] == sha256 and sha256[:6] in first["weights"]["sam"]["label"]
    prompter = importlib.import_module("kornia.contrib.visual_prompter").VisualPrompter
    theirs = prompter(importlib.import_module("kornia.models.sam").SamConfig("mobile_sam"))
    theirs.model = net
    cases = {each.case_id: each.load() for each in Lab().dataset(config).refs}
    for record in read_run(tmp_path / "once").records:
        theirs.set_image(torch.as_tensor(cases[record.case_id].image).permute(2, 0, 1).float() / 255)
        answer = theirs.predict(boxes=torch.tensor(record.boxes)[None], multimask_output=False)
        expected = answer.binary_masks.numpy().any(axis=(0, 1))
        with Image.open(prediction_path(tmp_path / "once", record.case_id)) as picture:
            ours = np.asarray(picture) > 0
        assert (ours != expected).mean() <= 1e-5 and 0 < ours.mean() < 1


@pytest.mark.ci
def test_rivals_stand_in_one_table_with_weights_of_the_hub(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command as it is typed, on phantoms; real weights would change labels and figures, and nothing else."""
    nets = {
        "CIDAS/clipseg-rd64-refined": clipseg_folder(tmp_path / "clipseg", context=512),
        "google/owlv2-base-patch16-ensemble": spotter_folder(tmp_path / "owlv2", "owlv2"),
        "facebook/sam3": spotter_folder(tmp_path / "sam3", "sam3"),
    }
    for repo, folder in nets.items():
        hub.add(repo, folder)
        importlib.import_module("huggingface_hub").snapshot_download(repo)  # as `hf download` does
    few = ["dataset.phantom.n=6", "dataset.limit=3", "dataset.volume.per_volume=1", "score.resamples=100"]
    quick = [
        "unet=quick",
        "unet.epochs=1",
        "unet.epoch_images=1",
        "sam.points_per_side=4",
        "figures=none",
        "device=cpu",
        "progress=false",
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["salip-exp", "+experiment=rivals", *few, *quick, "hydra.run.dir=out"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0, capsys.readouterr().err
    table = pd.read_csv(tmp_path / "out" / "rivals.csv")
    assert len(table) == 3 * 7 and set(table["state"]) == {"finished"} and table["dsc"].between(0, 1).all()
    assert (table["seconds_per_image"] > 0).all() and (table["p_holm"].notna() == (table["column"] != "salip")).all()
    assert (table["memory_mib"] > 100).all() or sys.platform != "linux"
    text = (tmp_path / "out" / "rivals.txt").read_text()
    assert "Grounded SAM differs from SaLIP in" in text and "clip.name=owlv2 (not tiny)" in text
    labels = {json.loads(each.read_text())["weights"].get("clip", {}).get("label") for each in tmp_path.glob(MANIFESTS)}
    assert any(f"{label}".startswith("owlv2: google/owlv2-base-patch16-ensemble@") for label in labels)
