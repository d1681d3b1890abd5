"""Strips: the cascade of one case from left to right, from the image to the final mask against the target."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from salip_exp._files import atomic_write, png
from salip_exp._reports.overlays import (
    BOX,
    FAINT,
    INK,
    PAPER,
    PREDICTION,
    TARGET,
    Choice,
    Entry,
    Undrawn,
    candidate_color,
    candidates,
    choose,
    dashed,
    identity,
    legend,
    outline,
    read_chosen,
    resized,
    verdict,
    words,
)
from salip_exp._reports.overlays import (
    GAP as DASHES,
)
from salip_exp._runs.records import CaseRecord, scored_mask
from salip_exp._settings.folders import File
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import Pool
from salip_exp.cascade.retrieval import MEAN, STD, preprocess
from salip_exp.cascade.views import viewable, views
from salip_exp.config import Config, Doubt, RepairStep, ViewConfig
from salip_exp.data.case import Case, CaseRef
from salip_exp.evaluation._repair import repooled
from salip_exp.evaluation.charges import Failure
from salip_exp.methods.base import Method, Prediction
from salip_exp.methods.traits import METHODS, Chooser

log = logging.getLogger(__name__)

RULES = "worst:1,median:1,best:1"
LONG_SIDE, GAP, LINE_HEIGHT = 208, 8, 18  # pixels: of a panel, between panels, of a line of text
TILE, TILES, TILE_COLUMNS, TILE_LABEL, FRAME = 72, 6, 3, 15, 2

_CHOSEN = {Chooser.clip: "seen by CLIP", Chooser.target: "by overlap with the target"}


@dataclass(frozen=True)
class Panel:
    """One step of the cascade: what is written above it, and its picture."""

    title: str
    picture: Image.Image


@dataclass(frozen=True)
class _View:
    """A candidate as CLIP saw it.

    Attributes:
        id: of the candidate.
        score: what retrieval went by.
        retrieved: whether it was taken.
        pixels: uint8 (TILE, TILE, 3).
    """

    id: int
    score: float
    retrieved: bool
    pixels: NDArray[np.uint8]


def write_strips(
    folder: Path,
    refs: Sequence[CaseRef],
    records: Sequence[CaseRecord],
    method: Method,
    config: Config,
    undrawn: Undrawn,
) -> list[Entry]:
    """Draw the cascade of chosen cases into `figures/`.

    The method is asked again: what it computed for the run lies in the stage cache, and is computed anew without one.
    Methods without a pool have no strips, nor has a run with `figures=none`.

    Args:
        undrawn: gets the cases whose strip cannot be drawn, or that are not what was scored, each with the reason.

    Returns:
        One entry per strip: `file` (relative to the run folder), `rule`, `case_id`, `group`, `dsc` and `failure`.
    """
    chosen = [] if config.figures == "none" else choose_strips(records, config.seed, config.score.doubt, config.figures)
    entries: dict[str, Entry] = {}
    for rule, record, case in read_chosen(refs, chosen, undrawn):
        try:
            strip = strip_of(folder, case, method, record, config)
        except Exception as error:  # the case was finished once: a picture must not cost the run its results
            log.exception("no strip of case %s", record.case_id)
            undrawn[record.case_id] = f"{type(error).__name__}: {error}"
            continue
        file = f"{File.figures}/strip_{record.name}.png"
        atomic_write(folder / file, png(np.asarray(strip)))
        entries[rule] = {"file": file, "rule": rule, **identity(record), "failure": record.failure}
    return [entries[rule] for rule, _ in chosen if rule in entries]


def strip_of(folder: Path, case: Case, method: Method, record: CaseRecord, config: Config) -> Image.Image:
    """The strip of a case of a run, in whose folder its mask lies; the method is asked again."""
    return draw_strip(case, as_scored(folder, method.predict(case), record, config), record, config)


def as_scored(folder: Path, prediction: Prediction, record: CaseRecord, config: Config) -> Prediction:
    """A prediction of the method, as repair left it."""
    if record.repaired is None:
        return prediction
    boxes = np.array(record.boxes, np.float32).reshape(-1, 4)
    prediction = repooled(prediction, RepairStep(record.repaired), config)
    return replace(prediction, mask=scored_mask(folder, record), boxes=boxes, selected_ids=record.selected)


def choose_strips(
    records: Sequence[CaseRecord], seed: int, doubt: Doubt = Doubt.stability, pictured: str = "none"
) -> list[Choice]:
    """The worst, the median and the best case, then the lowest DSC of every failure class; each case once.

    Where scores are equal, the first case of the data is taken. Without scores they go by doubt.

    Args:
        records: of the run.
        seed: of rules that draw.
        doubt: the measure, where there are no scores.
        pictured: rules of the overlays, whose cases come after these, under the names that they have there.
    """
    pooled = [record for record in records if record.n_pool is not None]
    chosen = {record.case_id: (rule.partition("_")[0], record) for rule, record in choose(pooled, RULES, seed, doubt)}
    for failure in Failure:
        lost = [record for record in pooled if record.failure == failure and failure is not Failure.none]
        for lowest in sorted(lost, key=lambda record: record.dsc or 0.0)[:1]:
            chosen.setdefault(lowest.case_id, (str(failure), lowest))
    for rule, record in choose(records, pictured, seed, doubt):
        if record.n_pool is not None:
            chosen.setdefault(record.case_id, (rule, record))
    return list(chosen.values())


def draw_strip(case: Case, prediction: Prediction, record: CaseRecord, config: Config) -> Image.Image:
    """The strip of one case.

    Args:
        case: gives the image and the target.
        prediction: with a pool.
        record: of the case, gives the scores.
        config: of the run.
    """
    assert prediction.pool is not None  # `choose_strips` takes no others
    pool, traits = prediction.pool, METHODS[config.method]
    kept = pool.select(np.isin(pool.ids, prediction.kept_ids))
    shown = shown_views(case.image, kept, prediction, config.view)
    panels = [
        Panel("image", Image.fromarray(_canvas(case))),
        Panel(f"segment everything: {len(pool)}", _candidates(case, pool)),
        Panel(f"after the area filter: {len(kept)}", _candidates(case, kept)),
        Panel(_views_title(len(shown), len(kept), traits.chooser), _tiles(shown)),
    ]
    if traits.prompts:  # without, the retrieved candidates are the prediction
        panels.append(Panel("box prompt", _boxed(case, prediction)))
    score = "" if record.dsc is None else f": DSC {record.dsc:.3f}"
    panels.append(Panel(f"prediction{score}", _outcome(case, prediction)))
    return _joined(panels, record, case.mask is not None)


def shown_views(image: NDArray[np.uint8], kept: Pool, prediction: Prediction, config: ViewConfig) -> list[_View]:
    """The views worth showing, best score first: all that were retrieved, then the next best, TILES at least."""
    kept = viewable(kept, config)  # all are, unless the oracle kept them
    scores = dict(zip(prediction.kept_ids.tolist(), prediction.kept_scores.tolist(), strict=True))
    best_first = sorted(kept.ids.tolist(), key=lambda number: (-scores[number], number))
    selected = [number for number in best_first if number in prediction.selected_ids]
    others = [number for number in best_first if number not in prediction.selected_ids]
    taken = {*selected, *others[: max(0, TILES - len(selected))]}
    row_of = {number: row for row, number in enumerate(kept.ids.tolist())}
    rows = np.array([row_of[number] for number in best_first if number in taken], np.int64)
    shown = kept.select(rows)
    pictures = (as_seen(picture, config, TILE) for picture in views(image, shown, config))
    return [
        _View(number, scores[number], number in selected, picture)
        for number, picture in zip(shown.ids.tolist(), pictures, strict=True)
    ]


def as_seen(view: NDArray[np.uint8], config: ViewConfig, side: int) -> NDArray[np.uint8]:
    """A view after CLIP's own preprocessing, uint8 (side, side, 3): what the fit leaves of it."""
    tensor = preprocess(view, side, config.fit).numpy().transpose(1, 2, 0) * STD + MEAN
    return np.round(np.clip(tensor, 0, 1) * 255).astype(np.uint8)


def _views_title(shown: int, kept: int, chooser: Chooser) -> str:
    by = _CHOSEN.get(chooser, "by a rule of its own")
    return f"{by}: best {shown} of {kept}" if shown < kept else by


def _scale(case: Case) -> float:
    return LONG_SIDE / float(max(case.image.shape[:2]))


def _canvas(case: Case) -> NDArray[np.uint8]:
    """The image at the size of a panel, to draw on."""
    height, width = (max(1, round(side * _scale(case))) for side in case.image.shape[:2])
    return resized(case.image, width, height)


def _candidates(case: Case, pool: Pool) -> Image.Image:
    pixels = _canvas(case)
    candidates(pixels, pool)
    return Image.fromarray(pixels)


def _tiles(shown: Sequence[_View]) -> Image.Image:
    """Views in rows, each with its score and its candidate's colour below; those retrieved are framed."""
    step = TILE + 2 * FRAME
    rows = max(1, -(-len(shown) // TILE_COLUMNS))
    sheet = Image.new("RGB", (step * TILE_COLUMNS, (step + TILE_LABEL) * rows), PAPER)
    pen = ImageDraw.Draw(sheet)
    for position, view in enumerate(shown):
        x, y = step * (position % TILE_COLUMNS), (step + TILE_LABEL) * (position // TILE_COLUMNS)
        if view.retrieved:
            pen.rectangle((x, y, x + step - 1, y + step - 1), BOX)
        sheet.paste(Image.fromarray(view.pixels), (x + FRAME, y + FRAME))
        pen.rectangle((x + FRAME, y + step + 3, x + FRAME + 8, y + step + 11), candidate_color(view.id))
        words(pen, x + FRAME + 13, y + step, [(f"{view.score:.3f}", INK if view.retrieved else FAINT)], 12)
    if not shown:
        words(pen, FRAME, TILE // 2, [("no candidate left", FAINT)])
    return sheet


def _boxed(case: Case, prediction: Prediction) -> Image.Image:
    picture = Image.fromarray(_canvas(case))
    pen = ImageDraw.Draw(picture)
    for box in usable_boxes(prediction.boxes, (case.image.shape[0], case.image.shape[1])):
        dashed(pen, box.tolist(), _scale(case))
    return picture


def _outcome(case: Case, prediction: Prediction) -> Image.Image:
    pixels = _canvas(case)
    if case.mask is not None:
        outline(pixels, case.mask, TARGET)
    outline(pixels, prediction.mask, PREDICTION, DASHES if case.mask is not None else 0)
    return Image.fromarray(pixels)


def _joined(panels: Sequence[Panel], record: CaseRecord, has_target: bool) -> Image.Image:
    """Panels side by side, titles above, the caption below."""
    widths = [max(panel.picture.width, LONG_SIDE) for panel in panels]
    height = max(panel.picture.height for panel in panels)
    strip = Image.new("RGB", (sum(widths) + GAP * (len(panels) + 1), height + 2 * LINE_HEIGHT + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(strip)
    x = GAP
    for panel, width in zip(panels, widths, strict=True):
        words(pen, x, GAP // 2, [(panel.title, INK)])
        strip.paste(panel.picture, (x, LINE_HEIGHT + GAP))
        x += width + GAP
    caption = [(f"{verdict(record)}   {record.group}   {record.case_id}   ", INK), *legend(has_target)]
    words(pen, GAP, LINE_HEIGHT + GAP + height + GAP // 2, caption)
    return strip
