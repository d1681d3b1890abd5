"""Figures 3 to 6 of the paper, from finished cells: every case by a stated rule, and what there is none of is said.

Every case that a figure shows is chosen by a rule, none by hand; where several are equal, the first of the data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp._experiments.cells import Cells, Finished
from salip_exp._experiments.outcome import notes
from salip_exp._files import atomic_write
from salip_exp._paper import columns, figure
from salip_exp._reports.overlays import PREDICTION, TARGET, Color, candidates, resized, veil
from salip_exp._reports.sheet import Panel, Row, Sheet, rendered
from salip_exp._reports.strips import as_seen
from salip_exp._runs.records import CaseRecord, scored_case, scored_mask
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.pool import Pool, candidate_ious
from salip_exp.cascade.views import views
from salip_exp.config import Data
from salip_exp.data._regions import regions
from salip_exp.data.case import Case
from salip_exp.evaluation.charges import Failure
from salip_exp.methods.base import Prediction

RULES = {
    "fig3": "per data set, the case whose DSC by SaLIP is nearest to the median of the data set",
    "fig4": "per data set, the lowest DSC among the cases that SAM's pool lost: it lacks the boxes that would do",
    "fig5": "per data set, the lowest DSC among the cases that CLIP lost by taking one thing twice, and the lowest "
    "among those that it lost otherwise",
    "fig6": "per data set, the case whose DSC the area filter changes most",
}

"""What each figure's choice is, in words."""


def nearest_to_median(records: Sequence[CaseRecord]) -> CaseRecord | None:
    """The case whose DSC is nearest to the median; None where no case has a score."""
    scored = [record for record in records if record.dsc is not None]
    if not scored:
        return None
    middle = float(np.median([record.dsc or 0.0 for record in scored]))
    return min(scored, key=lambda record: round(abs((record.dsc or 0.0) - middle), 9))  # equal but for the last bits


def lowest(records: Sequence[CaseRecord], failure: Failure) -> CaseRecord | None:
    """The case with the lowest DSC of a failure class; None where there is none of it."""
    lost = [record for record in records if record.dsc is not None and record.failure == failure]
    return min(lost, key=lambda record: record.dsc or 0.0, default=None)


def most_changed(before: Sequence[CaseRecord], after: Sequence[CaseRecord]) -> tuple[CaseRecord, CaseRecord] | None:
    """Both records of the case whose DSC differs most between two runs; None where no common case differs."""
    later = {record.case_id: record for record in after if record.dsc is not None}
    pairs = [(each, later[each.case_id]) for each in before if each.dsc is not None and each.case_id in later]
    pair = max(pairs, key=change, default=None)
    return pair if pair is not None and change(pair) > 0 else None


def change(pair: tuple[CaseRecord, CaseRecord]) -> float:
    """How far the scores of two records lie apart."""
    return abs((pair[0].dsc or 0.0) - (pair[1].dsc or 0.0))


log = logging.getLogger(__name__)

SALIP, NO_FILTER = "salip", "no_filter"

_RASTER = 512  # pixels of a picture's long side, where colours are laid over it

TILE, SPACE = 224, 16  # pixels of a retrieved view, and between two


@dataclass
class _Drawing:
    """What a figure is made of.

    Attributes:
        headers: of its columns.
        rows: filled from above.
        cases: data set, case and scores of every row.
        missing: one sentence for every data set that has no row, and why.
    """

    headers: Sequence[str]
    rows: list[Row] = field(default_factory=list)
    cases: list[dict[str, Any]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Shot:
    """One case with all that the cascade made of it."""

    cell: Finished
    record: CaseRecord
    case: Case
    prediction: Prediction

    @property
    def pool(self) -> Pool:
        """All candidates."""
        assert self.prediction.pool is not None  # these figures ask SaLIP alone
        return self.prediction.pool


def draw_figures(parts: Sequence[str], finished: Cells, folder: Path) -> list[dict[str, Any]]:
    """Draw figures into the study folder: `<name>.png`, `<name>.pdf`, and `<name>.txt`, the caption.

    Args:
        parts: names of figures, `fig3` to `fig6`.
        finished: cells by data set and column.
        folder: of the study.

    Returns:
        One entry per figure: `name`, `title`, `file` (the PNG; None where it could not be drawn), `pdf`, `rule`,
        `cases` and `notes`. What stands in one figure's way is noted, and the others are drawn.
    """
    entries = []
    for name in parts:
        entry: dict[str, Any] = {"name": name, "title": figure(name).title, "file": None, "rule": RULES[name]}
        try:
            entry |= _drawn(name, finished, folder)
        except Exception as error:
            log.exception("figure %s", name)
            entry["notes"] = [f"not drawn: {type(error).__name__}: {error}"]
        entries.append(entry)
    return entries


def _drawn(name: str, finished: Cells, folder: Path) -> dict[str, Any]:
    drawing = DRAWN[name](finished, figure(name).datasets)
    cells = [cell for (_, column), cell in finished.items() if column in figure(name).columns]
    said = [*drawing.missing, *_labels(cells)]
    for kind, content in rendered(Sheet(drawing.headers, drawing.rows, said)).items():
        atomic_write(folder / f"{name}.{kind}", content)
    atomic_write(folder / f"{name}.txt", _caption(name, drawing, said))
    return {"file": f"{name}.png", "pdf": f"{name}.pdf", "cases": drawing.cases, "notes": said}


def _labels(cells: Sequence[Finished]) -> list[str]:
    """What has to be said wherever these cells are shown."""
    if not cells:
        return []
    phantoms = any(cell.config.dataset.phantom is not None for cell in cells)
    return notes(cells, replace(cells[0].config, data=Data.phantoms if phantoms else Data.real))


def _caption(name: str, drawing: _Drawing, said: Sequence[str]) -> str:
    shown = [f"{each['dataset']}: {each['case_id']}, {each['shown']}" for each in drawing.cases]
    return "\n".join([f"{figure(name).title}.", f"Chosen: {RULES[name]}.", *shown, *said, ""])


def _side_by_side(finished: Cells, datasets: Sequence[str]) -> _Drawing:
    """Figure 3: image, target and the systems, each with its DSC on it."""
    systems = figure("fig3").columns
    titles = {key: column.title for key, column in columns().items()}
    drawing = _Drawing(["image", "ground truth", *(titles[system] for system in systems)])
    for dataset in datasets:
        cell = finished.get((dataset, SALIP))
        record = None if cell is None else nearest_to_median(cell.records)
        if cell is None or record is None:
            drawing.missing.append(_absent(dataset, cell, "no case has a score"))
            continue
        case = _case(cell, record)
        assert case.mask is not None  # the case has a score
        panels = [Panel(case.image), _painted(case, case.mask, TARGET)]
        scores = []
        for system in systems:
            theirs = _record_of(finished.get((dataset, system)), record.case_id)
            panels.append(_outcome(case, finished.get((dataset, system)), theirs))
            scores.append(f"{titles[system]} {_score(theirs)}")
        _add(drawing, cell, record, panels, ", ".join(scores))
    return drawing


def _lost_by_sam(finished: Cells, datasets: Sequence[str]) -> _Drawing:
    """Figure 4: the pool lacks a region, so CLIP retrieves something else."""
    drawing = _Drawing(["image and target", "pool", "retrieved", "prediction"])
    for dataset in datasets:
        cell = finished.get((dataset, SALIP))
        record = None if cell is None else lowest(cell.records, Failure.sam)
        if cell is None or record is None:
            drawing.missing.append(_absent(dataset, cell, "SAM loses no case"))
            continue
        shot = _shot(cell, record)
        panels = [_target(shot), _pool(shot, shot.pool), _retrieved(shot), _final(shot)]
        _add(drawing, cell, record, panels, f"{_score(record)}, best candidate IoU {record.best_candidate_iou:.2f}")
    return drawing


def _lost_by_clip(finished: Cells, datasets: Sequence[str]) -> _Drawing:
    """Figure 5: the pool has every region, and CLIP takes two of one, or misses one."""
    drawing = _Drawing(["image and target", "pool", "regions in the pool", "retrieved", "prediction"])
    for dataset in datasets:
        cell = finished.get((dataset, SALIP))
        found = [] if cell is None else [lowest(cell.records, kind) for kind in (Failure.duplicate, Failure.clip)]
        records = [record for record in found if record is not None]
        if cell is None or not records:
            drawing.missing.append(_absent(dataset, cell, "CLIP loses no case"))
            continue
        for record in records:
            shot = _shot(cell, record)
            panels = [_target(shot), _pool(shot, shot.pool), _regions(shot), _retrieved(shot), _final(shot)]
            _add(drawing, cell, record, panels, f"{record.failure}, {_score(record)}", f"({record.failure})")
    return drawing


def _filter_off_and_on(finished: Cells, datasets: Sequence[str]) -> _Drawing:
    """Figure 6: what is retrieved and what comes of it, without the area filter above, with it below."""
    drawing = _Drawing(["image and target", "seen by CLIP", "retrieved", "prediction"])
    for dataset in datasets:
        off, on = finished.get((dataset, NO_FILTER)), finished.get((dataset, SALIP))
        pair = None if off is None or on is None else most_changed(off.records, on.records)
        if off is None or on is None or pair is None:
            drawing.missing.append(_absent(dataset, on and off, "the area filter changes the DSC of no case"))
            continue
        for cell, record, state in zip((off, on), pair, ("filter off", "filter on"), strict=True):
            shot = _shot(cell, record)
            seen = shot.pool.select(np.isin(shot.pool.ids, shot.prediction.kept_ids))
            panels = [_target(shot), _pool(shot, seen), _retrieved(shot), _final(shot)]
            _add(drawing, cell, record, panels, f"{state}, {_score(record)}", state)
    return drawing


DRAWN: dict[str, Callable[[Cells, Sequence[str]], _Drawing]] = {
    "fig3": _side_by_side,
    "fig4": _lost_by_sam,
    "fig5": _lost_by_clip,
    "fig6": _filter_off_and_on,
}


def _absent(dataset: str, cell: Finished | None, reason: str) -> str:
    if cell is None:
        return f"{dataset}: not here, its runs are missing or failed."
    return f"{cell.config.dataset.name}: none taken, {reason} of {len(cell.records)}."


def _add(
    drawing: _Drawing, cell: Finished, record: CaseRecord, panels: Sequence[Panel], shown: str, state: str = ""
) -> None:
    """One more row, and what the caption says of it."""
    data = cell.config.dataset
    drawing.rows.append(Row("\n".join(part for part in (data.roi, data.name, state) if part), panels))
    drawing.cases.append(
        {"dataset": data.name, "case_id": record.case_id, "group": record.group, "dsc": record.dsc, "shown": shown}
    )


def _case(cell: Finished, record: CaseRecord) -> Case:
    return scored_case(next(ref for ref in cell.refs if ref.case_id == record.case_id), record)


def _shot(cell: Finished, record: CaseRecord) -> _Shot:
    case = _case(cell, record)
    return _Shot(cell, record, case, cell.build().predict(case))


def _record_of(cell: Finished | None, case_id: str) -> CaseRecord | None:
    records = [] if cell is None else [each for each in cell.records if each.case_id == case_id and not each.failed]
    return records[0] if records else None


def _score(record: CaseRecord | None) -> str:
    return "missing" if record is None or record.dsc is None else f"DSC {record.dsc:.2f}"


def _frame(case: Case) -> tuple[int, int]:
    return case.image.shape[0], case.image.shape[1]


def _canvas(case: Case) -> NDArray[np.uint8]:
    """The image at a size at which colours laid over it print well."""
    height, width = _frame(case)
    factor = max(1.0, _RASTER / max(height, width))
    return resized(case.image, max(1, round(width * factor)), max(1, round(height * factor)))


def _painted(case: Case, mask: NDArray[np.bool_], color: Color) -> Panel:
    pixels = _canvas(case)
    veil(pixels, mask, color)
    return Panel(pixels, size=_frame(case))


def _outcome(case: Case, cell: Finished | None, record: CaseRecord | None) -> Panel:
    """A system's prediction over the image, with the target's outline and the DSC; or the bare image, `missing`."""
    if cell is None or record is None or case.mask is None:
        return Panel(case.image, score="missing")
    painted = _painted(case, scored_mask(cell.folder, record), PREDICTION)
    return replace(painted, lines=[(case.mask, TARGET)], score=_score(record))


def _target(shot: _Shot) -> Panel:
    lines = [] if shot.case.mask is None else [(shot.case.mask, TARGET)]
    return Panel(shot.case.image, lines)


def _pool(shot: _Shot, pool: Pool) -> Panel:
    """Candidates over the image, and their number."""
    pixels = _canvas(shot.case)
    candidates(pixels, pool)
    return Panel(pixels, size=_frame(shot.case), caption=f"n = {len(pool)}")


def _regions(shot: _Shot) -> Panel:
    """The candidate that fits each region best."""
    assert shot.case.mask is not None  # a failure was found by comparing with it
    config = shot.cell.config
    ious = candidate_ious(shot.pool, regions(shot.case.mask, config.dataset.k, config.prompt.min_component_area))
    best = shot.pool.select(ious.argmax(axis=1))
    said = ", ".join(f"{each:.2f}" for each in ious.max(axis=1))
    return replace(_pool(shot, best), lines=[(shot.case.mask, TARGET)], caption=f"IoU {said}")


def _retrieved(shot: _Shot) -> Panel:
    """The retrieved candidates as CLIP saw them, best first, with their scores."""
    taken = np.array([int(np.flatnonzero(shot.pool.ids == each)[0]) for each in shot.prediction.selected_ids], np.int64)
    config = shot.cell.config.view
    tiles = [as_seen(view, config, TILE) for view in views(shot.case.image, shot.pool.select(taken), config)]
    if not tiles:
        return Panel(np.full((TILE, TILE, 3), 255, np.uint8), score="nothing")
    between = np.full((TILE, SPACE, 3), 255, np.uint8)
    strip = [part for tile in tiles for part in (between, tile)][1:]
    said = ", ".join(f"{score:.3f}" for score in shot.prediction.selected_scores)
    return Panel(np.hstack(strip), caption=f"similarity {said}")


def _final(shot: _Shot) -> Panel:
    """The final mask and its boxes against the target."""
    case = shot.case
    target = [] if case.mask is None else [(case.mask, TARGET)]
    boxes = usable_boxes(shot.prediction.boxes, _frame(case)).tolist()
    return Panel(case.image, [*target, (shot.prediction.mask, PREDICTION)], boxes, score=_score(shot.record))
