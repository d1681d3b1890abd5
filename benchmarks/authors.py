"""Whether `preset=paper` computes what the authors' code computes, step by step on the same images.

    git clone https://github.com/aleemsidra/SaLIP CHECKOUT
    python benchmarks/authors.py CHECKOUT --xray DIR

Their functions are imported from the checkout and called with the embedded networks in place of the official ones;
what they log to wandb is thrown away, and "cuda" means the CPU where there is no GPU. Compared are: of x-rays the
resized image, the target, the boxes of GT-SAM, SAM's candidates, every kind of view, CLIP's scores in half precision
and what is retrieved; of phantom volumes in CC359's layout the slices, their windows and targets. Their last stage
needs their own copy of SAM and is not compared here: the suite compares ours with `SamPredictor`.

What is equal, of how many, goes to the terminal and to benchmarks/results/authors.csv.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import nibabel as nib
import numpy as np
import torch
from clip.clip import _transform
from numpy.typing import NDArray
from reference import generate

from salip_exp._runs.lab import Lab
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed
from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.views import views
from salip_exp.config import Config
from salip_exp.data._phantoms.store import phantom_root
from salip_exp.data.case import Case
from salip_exp.data.datasets import open_dataset
from salip_exp.methods.bounds import _outline_boxes
from salip_exp.methods.salip import Found, Salip

KINDS = {
    "crops": "crop",
    "crop_expand": "crop_expand",
    "bbox": "box",
    "reverse_box_mask": "reverse_blur",
    "contour": "contour",
}
"""Their names of views, and ours."""
Tally = Counter[tuple[str, bool]]
_TO = torch.Tensor.to


def main() -> None:
    """Compare, or say that there is no checkout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path, help="of the authors' repository")
    parser.add_argument("--xray", type=Path, help="as dataset.root of dataset=xray; without it volumes alone")
    parser.add_argument("--images", type=int, default=4, help="x-rays, the first whose masks the authors' reader finds")
    parser.add_argument("--volumes", type=int, default=2, help="phantom volumes")
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("results"), help="folder of the CSV")
    args = parser.parse_args()
    if not (args.checkout / "sam_clip.py").is_file():
        raise SystemExit(f"{args.checkout} is no checkout of the authors' repository: nothing is compared")
    tally: Tally = Counter()
    with mock.patch.object(torch.Tensor, "to", _anywhere), mock.patch.dict(sys.modules, _stubs()):
        if args.xray is not None:
            compare_xrays(args.checkout, args.xray, args.images, tally)
        compare_volumes(args.checkout, args.volumes, tally)
    report(tally, args.results / "authors.csv")


def _anywhere(tensor: torch.Tensor, *to: Any, **how: Any) -> torch.Tensor:
    """`Tensor.to`, with the CPU for CUDA where there is none."""
    there = torch.cuda.is_available()
    return _TO(tensor, *("cpu" if each == "cuda" and not there else each for each in to), **how)


def _stubs() -> dict[str, ModuleType]:
    """What their modules import and these functions do not need."""
    nothing: Any = mock.MagicMock()
    names = ("wandb", "IPython", "utils", "utils.utils")
    return dict.fromkeys(names, nothing)


def theirs(checkout: Path, path: str) -> Any:
    """A module of the checkout."""
    name = Path(path).stem
    spec = spec_from_file_location(name, checkout / path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module  # their modules import each other
    spec.loader.exec_module(module)
    return module


def compare_xrays(checkout: Path, root: Path, images: int, tally: Tally) -> None:
    """Everything that their x-ray code does up to the boxes of the retrieved candidates."""
    code = theirs(checkout, "sam_clip.py")
    config = configured("dataset=xray", f"dataset.root={root}")
    folder = next(root.rglob("CXR_png"))
    reader = theirs(checkout, "data/cxr.py").CXR(SimpleNamespace(data_path=str(folder)))
    cases = {ref.case_id: ref for ref in open_dataset(config.dataset, config.seed).refs}
    for index, path in enumerate(reader.image_list[:images]):
        image, target, _, boxes, _ = reader[index]
        case = cases[Path(path).stem].load()
        assert case.mask is not None and case.touched is not None
        same("images", case.image, image, tally)
        same("targets", case.mask, target > 0, tally)
        for ours, found in zip(_outline_boxes(case.touched), boxes, strict=True):
            same("boxes of GT-SAM", ours, found, tally)
        compare_cascade(code, config, case, tally)


def compare_cascade(code: Any, config: Config, case: Case, tally: Tally) -> None:
    """Candidates, views, scores and picks of one image."""
    lab = Lab()
    method = lab.method(config)
    assert isinstance(method, Salip)
    found = method.finder.find(Picture(case.image), Stopwatch())
    loaded = lab.loaded(config)
    assert loaded.sam is not None and loaded.clip is not None
    for ours, record in zip(found.pool.masks, generate(loaded.sam.net, case.image, config.sam), strict=True):
        same("candidates of SAM", ours, record["segmentation"], tally)
    records = list(records_of(found))
    for mode, kind in KINDS.items():
        drawn = views(case.image, found.kept, replace(config.view, kind=kind))
        for view, picture in zip(drawn, code.get_crops(case.image, list(records), mode), strict=True):
            same(f"views: {kind}", view, picture, tally)
    crops = code.get_crops(case.image, list(records), "crops")
    net, text = loaded.clip.net, {case.case_id: list(loaded.sentences)}
    preprocess = _transform(net.visual.input_resolution)
    picks, scores = code.retrieve_relevant_crop(crops, text, net, preprocess, SimpleNamespace(dataset="cxr"))
    for score, logit in zip(found.scores, scores[case.case_id], strict=True):
        same("scores of CLIP in float16", score, np.float32(logit) / np.float32(100), tally)
    same("retrieved", found.rows, picks[case.case_id], tally)
    tally["images with ties", len(set(scores[case.case_id])) < len(found.kept)] += 1


def records_of(found: Found) -> Iterator[dict[str, Any]]:
    """The candidates that CLIP is shown, as the generator gives them."""
    for mask, box in zip(found.kept.masks, found.kept.boxes.astype(int).tolist(), strict=True):
        x0, y0, x1, y1 = box
        yield {"segmentation": mask, "bbox": [x0, y0, x1 - x0, y1 - y0]}


def compare_volumes(checkout: Path, volumes: int, tally: Tally) -> None:
    """Which slices their code takes of a volume, and how each looks to SAM and CLIP."""
    theirs(checkout, "sam_clip.py")
    code, reader = theirs(checkout, "sam_clip_3d.py"), theirs(checkout, "data/cc359.py").cc359_3d_volume
    with TemporaryDirectory() as folder:
        upright(Path(folder), volumes)
        config = configured("dataset=cc359", f"dataset.root={folder}")
        refs = open_dataset(config.dataset, config.seed).refs
        for name in dict.fromkeys(ref.volume for ref in refs):
            cases = [ref.load() for ref in refs if ref.volume == name]
            volume = reader.__new__(reader)  # its constructor wants the authors' own folders
            volume.rotate, volume.data_path, volume.folder = True, folder, "phantom"
            volume.volume_files = [str(Path(folder, "Original", "phantom", f"{name}.nii.gz"))]
            images, labels = volume[0]
            same("volumes: how many slices", len(cases), len(images), tally)
            for case, image, label in zip(cases, images, labels, strict=True):
                same("windowed slices", case.image, seen(code, image), tally)
                same("targets of slices", case.mask, label[0].numpy() > 0, tally)


def upright(folder: Path, volumes: int) -> None:
    """Copies of phantom volumes whose axes are stored as RAS+: their code does not look at how a volume lies."""
    config = configured("dataset=phantom_cc359").dataset
    assert config.phantom is not None
    root = phantom_root(config.layout, config.phantom)
    names = [path.name.removesuffix(".nii.gz") for path in sorted(root.rglob("Original/**/*.nii.gz"))[:volumes]]
    for path in sorted(root.rglob("*.nii.gz")):
        if path.name.removesuffix(".nii.gz").removesuffix("_ss") in names:
            place = folder / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.as_closest_canonical(nib.load(path)), place)


def seen(code: Any, image: NDArray[Any]) -> NDArray[Any]:
    """What their generator of candidates is given of a slice."""
    generator = mock.MagicMock()
    generator.generate.side_effect = StopIteration
    with suppress(StopIteration):
        code.get_bbox(image, None, None, generator, None)
    given: NDArray[Any] = generator.generate.call_args.args[0]
    return given


def configured(*overrides: str) -> Config:
    """`preset=paper` with the embedded networks."""
    return typed(compose(["preset=paper", "sam=tiny", "clip=tiny", "cache=memory", *overrides]))


def same(what: str, ours: Any, found: Any, tally: Tally) -> None:
    """Count whether two arrays are equal to the last bit."""
    tally[what, np.array_equal(np.asarray(ours), np.asarray(found))] += 1


def report(tally: Tally, path: Path) -> None:
    """Print and write what is equal, of how many."""
    rows = [(what, tally[what, True], tally[what, True] + tally[what, False]) for what, _ in tally]
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows([("what", "equal", "of"), *dict.fromkeys(rows)])
    for what, equal, of in dict.fromkeys(rows):
        print(f"{what:<32}{equal:>6} of {of}")


if __name__ == "__main__":
    main()
