"""`task=export`: predictions of a run as COCO JSON, or masks of its candidates, at the size of the images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco
from rich.text import Text

from salip_exp._commands._candidate_masks import export_candidates
from salip_exp._console import shown, wide_console
from salip_exp._files import atomic_write
from salip_exp._runs.folder import State, read_run
from salip_exp._runs.lab import Lab
from salip_exp._runs.masks import native
from salip_exp._runs.records import CaseRecord
from salip_exp._settings.differences import config_of
from salip_exp._settings.folders import File
from salip_exp._wording import many
from salip_exp.config import Config, DatasetConfig, ExportForm
from salip_exp.errors import CaseError, DataError


def command(config: Config, folder: Path, typed: Sequence[str]) -> int:
    """Write `coco.json`: an image for each case, and an annotation for each whose prediction is not empty; or, with
    `export.form=candidates`, what `candidate_masks` does.

    Returns:
        0.

    Raises:
        DataError: `export.run` is no finished run of this version, or a prediction was changed.
        EnvironmentFault: the folder cannot be written.
    """
    place = Path(config.export.run or "").expanduser()
    run = read_run(place)
    if run.label is not State.finished:
        raise DataError(f"export.run={place} is no finished run ({run.why or run.label}): finish it, or name another")
    told = config_of(place)
    if config.export.form is ExportForm.candidates:
        here = {name: getattr(config, name) for name in ("device", "threads", "cache", "download", "progress")}
        return export_candidates(run.records, replace(told, **here), place, folder, Lab())
    content = coco_of(run.records, told.dataset, place)
    atomic_write(folder / File.coco, json.dumps(content, allow_nan=False) + "\n")
    found = f"{many(len(content['images']), 'image')}, {many(len(content['annotations']), 'annotation')}"
    wide_console().print(Text(f"{found}: {shown(folder / File.coco)}"))
    return 0


def coco_of(records: Sequence[CaseRecord], config: DatasetConfig, folder: Path) -> dict[str, Any]:
    """The predictions of a run's cases in COCO's form for object detection, masks as compressed run lengths.

    A slice is an image of its volume's file, with `volume`, `axis` and `slice` beside it. `score` is SAM's own
    estimate for what was retrieved.

    Raises:
        DataError: records do not tell their images, or a prediction is gone or was changed.
    """
    done = [each for each in records if not each.failed]
    if any(each.size is None for each in done):
        raise DataError(
            f"{folder} does not tell the sizes of images: it is of an earlier version: run again; or its stress moves "
            "images, so that nothing lies on their files"
        )
    images = [_image(number, each) for number, each in enumerate(done, 1)]
    found = [_annotation(number, each, config, folder) for number, each in enumerate(done, 1)]
    annotations = [each | {"id": number} for number, each in enumerate((each for each in found if each), 1)]
    category = {"id": 1, "name": config.roi, "supercategory": "organ"}
    return {"images": images, "annotations": annotations, "categories": [category]}


def _image(number: int, record: CaseRecord) -> dict[str, Any]:
    height, width = record.size or (0, 0)
    own = {"id": number, "file_name": record.image, "height": height, "width": width, "case_id": record.case_id}
    place = {"volume": record.volume, "axis": record.axis, "slice": record.slice}
    return own | (place if record.axis is not None else {})


def _annotation(number: int, record: CaseRecord, config: DatasetConfig, folder: Path) -> dict[str, Any] | None:
    try:
        mask = native(folder, record, config)
    except CaseError as error:
        raise DataError(str(error)) from error
    if not mask.any():
        return None
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {
        "image_id": number,
        "category_id": 1,
        "segmentation": {"size": list(mask.shape), "counts": runs["counts"].decode()},
        "area": int(mask.sum()),
        "bbox": coco.toBbox(runs).tolist(),
        "iscrowd": 0,
        **({} if record.predicted_iou is None else {"score": record.predicted_iou}),
    }
