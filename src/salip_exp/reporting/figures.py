"""Overlay pictures: the image with the outlines of prediction and target, box prompts dashed, the scores written."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from salip_exp.data.case import Case, CaseRef
from salip_exp.errors import CaseError
from salip_exp.files import png
from salip_exp.running.files import atomic_write
from salip_exp.running.records import CaseRecord, prediction_path

log = logging.getLogger(__name__)

LONG_SIDE = 480  # small images are enlarged to about this, so that outlines stay thin
TARGET, PREDICTION, BOX = (0, 200, 140), (255, 140, 0), (240, 240, 240)  # apart for colour-blind eyes too
PAPER, INK = (24, 24, 27), (235, 235, 235)
LINE, DASH, CAPTION = 2, 8, 42


def write_figures(
    folder: Path, refs: Sequence[CaseRef], records: Sequence[CaseRecord], rules: str, seed: int
) -> list[dict[str, str | float | None]]:
    """Draw the chosen cases into `figures/`; a case that can no longer be read is left out and noted.

    Returns:
        One entry per picture: `file` (relative to the run folder), `rule`, `case_id`, `group` and `dsc`.
    """
    places = {ref.case_id: ref for ref in refs}
    entries: list[dict[str, str | float | None]] = []
    for rule, record in choose(records, rules, seed):
        try:
            case = places[record.case_id].load()
        except CaseError as error:
            log.warning("no picture of case %s: %s", record.case_id, error)
            continue
        file = f"figures/{rule}_{record.name}.png"
        atomic_write(folder / file, png(np.asarray(draw(case, _prediction(folder, record), record))))
        entries.append(
            {"file": file, "rule": rule, "case_id": record.case_id, "group": record.group, "dsc": record.dsc}
        )
    return entries


def choose(records: Sequence[CaseRecord], rules: str, seed: int) -> list[tuple[str, CaseRecord]]:
    """The cases that rules like `worst:5,random:3` name, each once, under the first rule that takes it.

    `worst`, `best` and `median` (those nearest to the median) go by DSC. Where no case has a score they take cases at
    random, so that a data set without targets gets its pictures too. Failed cases have none.

    Args:
        records: of the run.
        rules: `none`, or `all` and `rule:count` joined by commas.
        seed: of `random`.
    """
    if rules == "none":
        return []
    predicted = [record for record in records if not record.failed]
    chosen: dict[str, tuple[str, CaseRecord]] = {}
    for part in rules.split(","):
        rule, _, count = part.partition(":")
        fresh = (record for record in _ranked(predicted, rule, seed) if record.case_id not in chosen)
        limit = int(count) if count else len(predicted)
        for rank, record in zip(range(1, limit + 1), fresh, strict=False):
            chosen[record.case_id] = (f"{rule}_{rank:02d}", record)
    return list(chosen.values())


def _ranked(records: Sequence[CaseRecord], rule: str, seed: int) -> Iterator[CaseRecord]:
    scored = sorted((each for each in records if each.dsc is not None), key=lambda each: each.dsc or 0.0)
    if rule == "all":
        return iter(records)
    if rule == "random" or not scored:
        return iter(random.Random(seed).sample(records, len(records)))
    if rule == "median":
        middle = float(np.median([each.dsc or 0.0 for each in scored]))
        return iter(sorted(scored, key=lambda each: abs((each.dsc or 0.0) - middle)))
    return iter(scored if rule == "worst" else scored[::-1])


def draw(case: Case, prediction: NDArray[np.bool_], record: CaseRecord) -> Image.Image:
    """One overlay picture.

    Args:
        case: gives the image and the target.
        prediction: bool (H, W).
        record: gives the boxes and the scores.
    """
    factor = max(1, round(LONG_SIDE / max(prediction.shape)))
    height, width = (side * factor for side in prediction.shape)
    pixels = np.asarray(cv2.resize(case.image, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    if case.mask is not None:
        _outline(pixels, case.mask, TARGET)
    _outline(pixels, prediction, PREDICTION)
    canvas = Image.new("RGB", (max(width, 240), height + CAPTION), PAPER)
    canvas.paste(Image.fromarray(pixels), (0, 0))
    pen = ImageDraw.Draw(canvas)
    for x0, y0, x1, y1 in record.boxes:
        _dashed(pen, (x0 * factor, y0 * factor, (x1 + 1) * factor - 1, (y1 + 1) * factor - 1))
    _caption(pen, height, record, case.mask is not None)
    return canvas


def _outline(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], color: tuple[int, int, int]) -> None:
    height, width = pixels.shape[:2]
    enlarged = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(pixels, contours, -1, color, LINE)


def _dashed(pen: ImageDraw.ImageDraw, box: tuple[float, float, float, float]) -> None:
    x0, y0, x1, y1 = box
    for x in np.arange(x0, x1, 2 * DASH):
        for y in (y0, y1):
            pen.line([(x, y), (min(x + DASH, x1), y)], BOX, 1)
    for y in np.arange(y0, y1, 2 * DASH):
        for x in (x0, x1):
            pen.line([(x, y), (x, min(y + DASH, y1))], BOX, 1)


def _caption(pen: ImageDraw.ImageDraw, top: int, record: CaseRecord, has_target: bool) -> None:
    score = "no score" if record.dsc is None else f"DSC {record.dsc:.3f}"
    cause = f"  lost by {record.failure}" if record.failure not in (None, "none") else ""
    status = f"  {record.status}" if record.status != "ok" else ""
    font = ImageFont.load_default(13)
    pen.text((6, top + 4), f"{score}{cause}{status}   {record.group}", INK, font)
    x = 6.0
    for word, color in (("target  ", TARGET), ("prediction  ", PREDICTION), ("box  ", BOX))[0 if has_target else 1 :]:
        pen.text((x, top + 22), word, color, font)
        x += pen.textlength(word, font)
    pen.text((x, top + 22), record.case_id.encode("ascii", "replace").decode(), INK, font)


def _prediction(folder: Path, record: CaseRecord) -> NDArray[np.bool_]:
    with Image.open(prediction_path(folder, record.case_id)) as picture:
        return np.asarray(picture) > 0
