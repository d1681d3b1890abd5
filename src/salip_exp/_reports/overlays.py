"""Overlay pictures: the image with the outlines of prediction and target, box prompts dashed, the scores written."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from salip_exp._files import atomic_write, png
from salip_exp._reports.drawing import BOX, INK, PAPER, PREDICTION, TARGET, Color, dashed, outline, resized, words
from salip_exp._settings.folders import File
from salip_exp.data.case import Album, Case, CaseRef
from salip_exp.errors import CaseError
from salip_exp.runs.records import CaseRecord, prediction_path

log = logging.getLogger(__name__)

Entry = dict[str, str | float | None]
Choice = tuple[str, CaseRecord]
"""A case, and the rule that took it."""

LONG_SIDE = 480  # small images are enlarged to about this, so that outlines stay thin
CAPTION = 42
REMEMBERED = 64 << 20  # bytes: more than the default rules take


def write_figures(
    folder: Path, refs: Sequence[CaseRef], records: Sequence[CaseRecord], rules: str, seed: int
) -> list[Entry]:
    """Draw the chosen cases into `figures/`; a case that can no longer be read is left out and noted.

    Returns:
        One entry per picture: `file` (relative to the run folder), `rule`, `case_id`, `group` and `dsc`.
    """
    chosen = choose(records, rules, seed)
    entries: dict[str, Entry] = {}
    for rule, record, case in read_chosen(refs, chosen):
        file = f"{File.figures}/{rule}_{record.name}.png"
        atomic_write(folder / file, png(np.asarray(draw(case, read_prediction(folder, record), record))))
        entries[rule] = {"file": file, "rule": rule, **identity(record)}
    return [entries[rule] for rule, _ in chosen if rule in entries]


def identity(record: CaseRecord) -> Entry:
    """What an entry says of its case."""
    return {"case_id": record.case_id, "group": record.group, "dsc": record.dsc}


def remembering(refs: Sequence[CaseRef]) -> list[CaseRef]:
    """The same references with a memory, so that several kinds of pictures read their cases once."""
    return Album(REMEMBERED).remembering(refs)


def read_chosen(refs: Sequence[CaseRef], chosen: Sequence[Choice]) -> Iterator[tuple[str, CaseRecord, Case]]:
    """The chosen cases in the order of the data, in which a volume is read once; one that cannot be read is noted."""
    wanted = {record.case_id: (rule, record) for rule, record in chosen}
    for ref in refs:
        if ref.case_id in wanted:
            try:
                yield *wanted[ref.case_id], ref.load()
            except CaseError as error:
                log.warning("no picture of case %s: %s", ref.case_id, error)


def choose(records: Sequence[CaseRecord], rules: str, seed: int) -> list[Choice]:
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
    chosen: dict[str, Choice] = {}
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
    pixels = resized(case.image, width, height)
    if case.mask is not None:
        outline(pixels, case.mask, TARGET)
    outline(pixels, prediction, PREDICTION)
    canvas = Image.new("RGB", (max(width, 240), height + CAPTION), PAPER)
    canvas.paste(Image.fromarray(pixels), (0, 0))
    pen = ImageDraw.Draw(canvas)
    for box in record.boxes:
        dashed(pen, box, factor)
    words(pen, 6, height + 4, [(f"{verdict(record)}   {record.group}", INK)])
    words(pen, 6, height + 22, [*legend(case.mask is not None), ("box  ", BOX), (record.case_id, INK)])
    return canvas


def verdict(record: CaseRecord) -> str:
    """A case's score, and what lost it, in words."""
    score = "no score" if record.dsc is None else f"DSC {record.dsc:.3f}"
    cause = f"  lost by {record.failure}" if record.failure not in (None, "none") else ""
    return score + cause + (f"  {record.status}" if record.status != "ok" else "")


def legend(has_target: bool) -> list[tuple[str, Color]]:
    """The names of the outlines, each in its colour."""
    return [("target  ", TARGET), ("prediction  ", PREDICTION)][0 if has_target else 1 :]


def read_prediction(folder: Path, record: CaseRecord) -> NDArray[np.bool_]:
    """The predicted mask of a case in a run folder, bool (H, W)."""
    with Image.open(prediction_path(folder, record.case_id)) as picture:
        return np.asarray(picture) > 0
