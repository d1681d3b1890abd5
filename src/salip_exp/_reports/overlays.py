"""Overlay pictures: the image with the outlines of prediction and target, box prompts dashed, the scores written."""

from __future__ import annotations

import math
import random
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from salip_exp._files import atomic_write, png
from salip_exp._runs.records import CaseRecord, by_doubt, doubt_of, scored_case, scored_mask
from salip_exp._settings.folders import File
from salip_exp.cascade.pool import Pool
from salip_exp.config import Doubt
from salip_exp.data.case import Case, CaseMemory, CaseRef
from salip_exp.errors import CaseError

Color = tuple[int, int, int]

TARGET, PREDICTION, BOX = (0, 200, 140), (255, 140, 0), (240, 240, 240)
PAPER, INK, FAINT = (24, 24, 27), (235, 235, 235), (165, 165, 172)
DASH, TEXT = 8, 13
GAP = 5  # pixels of a dash of the prediction's outline above the target's
# Okabe and Ito (2008), in an order that keeps neighbours apart.
CANDIDATES: tuple[Color, ...] = (
    (86, 180, 233),
    (240, 228, 66),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (230, 159, 0),
)
VEIL = 0.45  # share of a candidate's colour in the pixels that it covers


def resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """An image at another size: averaged where it shrinks, interpolated where it grows."""
    shrinks = width < image.shape[1]
    flag = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.array(cv2.resize(image, (width, height), interpolation=flag), dtype=np.uint8)


def fitted(mask: NDArray[np.bool_], pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A mask at the size of the pixels, 0 and 1."""
    height, width = pixels.shape[:2]
    return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def outline(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], color: Color, gap: int = 0) -> None:
    """Draw the edges of a mask, those of its holes too, one pixel wide, into the pixels.

    Args:
        gap: leave as many pixels out after as many drawn, so that a line below stays in sight; 0: leave out none.
    """
    contours, _ = cv2.findContours(fitted(mask, pixels), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for points in (each[:, 0] for each in contours):
        drawn = points[np.arange(len(points)) // gap % 2 == 0] if gap else points
        pixels[drawn[:, 1], drawn[:, 0]] = color


def veil(pixels: NDArray[np.uint8], mask: NDArray[np.bool_], color: Color) -> None:
    """Lay a colour over a mask, with its edge in the full colour, into the pixels."""
    inside = fitted(mask, pixels).view(bool)
    pixels[inside] = np.round((1 - VEIL) * pixels[inside] + VEIL * np.array(color)).astype(np.uint8)
    outline(pixels, mask, color)


def candidates(pixels: NDArray[np.uint8], pool: Pool) -> None:
    """Lay all candidates over the pixels, large ones first, so that small ones stay in sight."""
    for row in np.argsort(-pool.areas, kind="stable"):
        veil(pixels, pool.masks[row], candidate_color(int(pool.ids[row])))


def candidate_color(number: int) -> Color:
    """The colour of a candidate by its id, the same in every panel."""
    return CANDIDATES[number % len(CANDIDATES)]


def dashed(pen: ImageDraw.ImageDraw, box: Sequence[float], factor: float) -> None:
    """Draw a box, x0 y0 x1 y1 with inclusive far edges, where every pixel of the image is `factor` pixels wide.

    Light dashes on a dark line: one of them is seen on any ground.
    """
    x0, y0 = box[0] * factor, box[1] * factor
    x1, y1 = max(x0, (box[2] + 1) * factor - 1), max(y0, (box[3] + 1) * factor - 1)
    pen.rectangle((x0, y0, x1, y1), outline=PAPER)
    for x in np.arange(x0, x1, 2 * DASH):
        for y in (y0, y1):
            pen.line([(x, y), (min(x + DASH, x1), y)], BOX, 1)
    for y in np.arange(y0, y1, 2 * DASH):
        for x in (x0, x1):
            pen.line([(x, y), (x, min(y + DASH, y1))], BOX, 1)


def words(pen: ImageDraw.ImageDraw, x: float, y: float, parts: Sequence[tuple[str, Color]], size: int = TEXT) -> None:
    """Write words of several colours in one line."""
    for text, color in parts:
        font = ImageFont.load_default(size) if text.isascii() else _font_of_letters(size)
        plain = writable(text)
        pen.text((x, y), plain, color, font)
        x += pen.textlength(plain, font)


def writable(text: str) -> str:
    """Text with a question mark for what DejaVu Sans lacks, or what is written from right to left.

    Names of files need not be valid text.
    """
    return "".join(letter if letter.isascii() or _is_drawn(letter) else "?" for letter in text)


@cache
def _is_drawn(letter: str) -> bool:
    if unicodedata.category(letter).startswith("C") or unicodedata.bidirectional(letter) in ("R", "AL"):
        return False
    font = _font_of_letters(TEXT)
    return bytes(font.getmask(letter)) != bytes(font.getmask("\uffff"))


@cache
def _font_of_letters(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which lies in matplotlib, found without importing that."""
    spec: Any = find_spec("matplotlib")
    return ImageFont.truetype(
        Path(spec.submodule_search_locations[0], "mpl-data", "fonts", "ttf", "DejaVuSans.ttf"), size
    )


Entry = dict[str, Any]
Choice = tuple[str, CaseRecord]
"""A case, and the rule that took it."""
Undrawn = dict[str, str]
"""Why there is no picture of a case, by its id."""

LONG_SIDE = 480  # small images are enlarged to about this, so that outlines stay thin
CAPTION = 42
LAYERED = 300  # pictures, the worst first, whose outlines are kept apart, so that a page can show and hide them
_CLOSE = 0.6  # pixels that an outline may lie beside the mask's edge
REMEMBERED = 64 << 20  # bytes: more than the default rules take


def write_figures(
    folder: Path,
    refs: Sequence[CaseRef],
    records: Sequence[CaseRecord],
    rules: str,
    seed: int,
    undrawn: Undrawn,
    doubt: Doubt = Doubt.stability,
) -> list[Entry]:
    """Draw the chosen cases into `figures/`.

    Args:
        undrawn: gets the cases that can no longer be read, or are not what was scored, each with the reason.

    Returns:
        One entry per picture: `file` (relative to the run folder), `rule`, `case_id`, `group` and `dsc`; of the worst,
        too, what is laid over which `image` (`layers_of`).
    """
    chosen = choose(records, rules, seed, doubt)
    worst = {each.case_id for each in foremost([record for _, record in chosen], LAYERED, doubt)}
    entries: dict[str, Entry] = {}
    for rule, record, case in read_chosen(refs, chosen, undrawn):
        file = f"{File.figures}/{rule}_{record.name}.png"
        try:
            mask = scored_mask(folder, record)
        except CaseError as error:
            undrawn[record.case_id] = str(error)
            continue
        atomic_write(folder / file, png(np.asarray(draw(case, mask, record))))
        entries[rule] = {"file": file, "rule": rule, **identity(record)}
        if record.case_id in worst:
            image = f"{File.figures}/image_{record.name}.png"
            atomic_write(folder / image, png(case.image))
            entries[rule] |= {"image": image, **layers_of(case, mask, record)}
    return [entries[rule] for rule, _ in chosen if rule in entries]


def layers_of(case: Case, prediction: NDArray[np.bool_], record: CaseRecord) -> Entry:
    """The `size` of an image (width, height), `outlines` and `boxes` to lay over it, in its pixels."""
    masks = {"target": case.mask, "prediction": prediction}
    outlines = {name: path(mask) for name, mask in masks.items() if mask is not None}
    boxes = [[round(float(each), 1) for each in box] for box in record.boxes]
    return {"size": [*prediction.shape[::-1]], "outlines": outlines, "boxes": boxes}


def path(mask: NDArray[np.bool_]) -> str:
    """The edges of a mask, those of its holes too, as the `d` of an SVG path, in pixels."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts = [cv2.approxPolyDP(each, _CLOSE, closed=True)[:, 0] + 0.5 for each in contours]
    return "".join("M" + "L".join(f"{x:g} {y:g}" for x, y in part) + "Z" for part in parts)


def identity(record: CaseRecord) -> Entry:
    """What an entry says of its case."""
    return {"case_id": record.case_id, "group": record.group, "dsc": record.dsc}


def remembering(refs: Sequence[CaseRef]) -> list[CaseRef]:
    """The same references with a memory, so that several kinds of pictures read their cases once."""
    return CaseMemory(REMEMBERED).remembering(refs)


def read_chosen(
    refs: Sequence[CaseRef], chosen: Sequence[Choice], undrawn: Undrawn
) -> Iterator[tuple[str, CaseRecord, Case]]:
    """The chosen cases as they were scored, in the order of the data, in which a volume is read once; the others are
    noted in `undrawn`.
    """
    wanted = {record.case_id: (rule, record) for rule, record in chosen}
    for ref in refs:
        if ref.case_id in wanted:
            try:
                yield *wanted[ref.case_id], scored_case(ref, wanted[ref.case_id][1])
            except CaseError as error:
                undrawn[ref.case_id] = str(error)


def choose(records: Sequence[CaseRecord], rules: str, seed: int, doubt: Doubt = Doubt.stability) -> list[Choice]:
    """The cases that rules like `worst:5,random:3` name, each once, under the first rule that takes it.

    `worst`, `best` and `median` (those nearest to the median) go by DSC, or by a measure of doubt where no case has a
    score; where there is none of that either, they take cases at random. Failed cases have no picture.

    Args:
        records: of the run.
        rules: `none`, or `all` and `rule:count` joined by commas.
        seed: of `random`.
        doubt: the measure, where any case has it.
    """
    if rules == "none":
        return []
    predicted = [record for record in records if not record.failed]
    chosen: dict[str, Choice] = {}
    for part in rules.split(","):
        rule, _, count = part.partition(":")
        fresh = (record for record in _ranked(predicted, rule, seed, doubt) if record.case_id not in chosen)
        limit = int(count) if count else len(predicted)
        for rank, record in zip(range(1, limit + 1), fresh, strict=False):
            chosen[record.case_id] = (f"{rule}_{rank:02d}", record)
    return list(chosen.values())


def foremost(records: Sequence[CaseRecord], most: int, doubt: str) -> list[CaseRecord]:
    """The worst by DSC, or where no case has a score the most doubtful."""
    if any(each.dsc is not None for each in records):
        return sorted(records, key=lambda each: math.inf if each.dsc is None else each.dsc)[:most]
    return by_doubt(records, doubt_of(records, doubt) or doubt)[:most]


def _ranked(records: Sequence[CaseRecord], rule: str, seed: int, doubt: Doubt) -> Iterator[CaseRecord]:
    scored, measure = any(each.dsc is not None for each in records), doubt_of(records, doubt) or doubt
    values = [(each.dsc if scored else each.believed(measure), each) for each in records]
    known = [(value, each) for value, each in values if value is not None]
    ranked = [each for _, each in sorted(known, key=lambda pair: pair[0])]
    if rule == "all":
        return iter(records)
    if rule == "random" or not ranked:
        return iter(random.Random(seed).sample(records, len(records)))
    if rule == "median":
        middle = float(np.median([found for found, _ in known]))
        return (each for _, each in sorted(known, key=lambda pair: abs(pair[0] - middle)))
    return iter(ranked if rule == "worst" else ranked[::-1])


def draw(case: Case, prediction: NDArray[np.bool_], record: CaseRecord) -> Image.Image:
    """One overlay picture.

    Args:
        case: gives the image and the target.
        prediction: bool (H, W).
        record: gives the boxes and the scores.
    """
    factor = max(1, round(LONG_SIDE / max(prediction.shape)))
    height, width = (side * factor for side in prediction.shape)
    pixels = resized(case.image, width, height)
    if case.mask is not None:
        outline(pixels, case.mask, TARGET)
    outline(pixels, prediction, PREDICTION, GAP if case.mask is not None else 0)
    canvas = Image.new("RGB", (max(width, 240), height + CAPTION), PAPER)
    canvas.paste(Image.fromarray(pixels), (0, 0))
    pen = ImageDraw.Draw(canvas)
    for box in record.boxes:
        dashed(pen, box, factor)
    words(pen, 6, height + 4, [(f"{verdict(record)}   {record.group}", INK)])
    words(pen, 6, height + 22, [*legend(case.mask is not None), ("box  ", BOX), (record.case_id, INK)])
    return canvas


_BELIEVED = (("stability", Doubt.stability), ("predicted IoU", Doubt.predicted_iou))


def verdict(record: CaseRecord) -> str:
    """A case's score, and what lost it, in words."""
    believed = [(words, record.believed(name)) for words, name in _BELIEVED]
    said = ", ".join(["no score", *(f"{words} {value:.3f}" for words, value in believed if value is not None)])
    score = said if record.dsc is None else f"DSC {record.dsc:.3f}"
    cause = f"  lost by {record.failure}" if record.failure not in (None, "none") else ""
    return score + cause + (f"  {record.status}" if record.status != "ok" else "")


def legend(has_target: bool) -> list[tuple[str, Color]]:
    """The names of the outlines, each in its colour."""
    return [("target  ", TARGET), ("prediction  ", PREDICTION)][0 if has_target else 1 :]
