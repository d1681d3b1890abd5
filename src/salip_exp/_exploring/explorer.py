"""What the page shows: rankings, scores and masks, by the methods, stages and cache of a run."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp._exploring.asked import Asked, configured
from salip_exp._reports.page import png_uri
from salip_exp._runs._cases import judge
from salip_exp._runs._identity import Identity
from salip_exp._runs.lab import Lab
from salip_exp._runs.listener import Run
from salip_exp._runs.records import CaseRecord
from salip_exp._timing import Stopwatch
from salip_exp.cascade.cached_sam import Picture
from salip_exp.cascade.organ import usable_boxes
from salip_exp.cascade.retrieval import ranked
from salip_exp.config import Config
from salip_exp.data.case import Case, CaseRef
from salip_exp.errors import CaseError, ConfigError
from salip_exp.evaluation.flags import REASONS
from salip_exp.evaluation.metrics import dice
from salip_exp.methods.salip import Found, Salip, SamClip

MEMORY_MB = 512
"""Images that are kept between questions."""
_KEPT_RUNS, _KEPT_SCORES = 8, 4096
_SHOWN, _OFFERED = 200, 50
"""Candidates of a case that are listed at most, the highest first; cases that are offered for a text."""
_Mask = NDArray[np.bool_]


class Explorer:
    """Answers questions about the cases of a data set; two at once are the caller's care.

    Args:
        config: of the command, checked.
        folder: of the command; nothing is written there by questions.

    Attributes:
        dataset: the cases.
        loaded: the networks.
        first: id of the case to be shown first.

    Raises:
        ConfigError: `explore.case` is none of the data.
        DataError, WeightsError, EnvironmentFault: what a run of this configuration could not begin for.
    """

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.lab = config, Lab(MEMORY_MB)
        self.dataset = self.lab.dataset(config)
        self.loaded = self.lab.loaded(config)
        self.folder = folder
        self._refs = {ref.case_id: ref for ref in self.dataset.refs}
        self._places = {case_id: place for place, case_id in enumerate(self._refs)}
        self.first = config.explore.case or self.dataset.refs[0].case_id
        self._ref(self.first)
        self._natives = self.lab.natives(config) if config.score.at == "native" else {}
        self._sam = self.lab.asked_sam(config)
        self._run = lru_cache(_KEPT_RUNS)(self._begun)
        self._judged = lru_cache(_KEPT_SCORES)(self._scored)

    def listed(self, start: int, count: int) -> list[list[Any]]:
        """Place, id and group of so many cases from a place on, the first again after the last."""
        refs = self.dataset.refs
        places = [(start + i) % len(refs) for i in range(min(count, len(refs)))]
        return [[place, refs[place].case_id, refs[place].group] for place in places]

    def like(self, text: str) -> list[list[Any]]:
        """The same of cases whose id holds a text, the first of the data first; one that is called so before others."""
        wanted = text.casefold()
        found = (place for place, ref in enumerate(self.dataset.refs) if wanted in ref.case_id.casefold())
        exact = [self._places[text]] if text in self._places else []
        places = [*exact, *(place for place in islice(found, _OFFERED) if place not in exact)]
        return [self.listed(place, 1)[0] for place in places]

    def image(self, case_id: str) -> dict[str, Any]:
        """The picture of a case as a data URI, its size, and its target where it has one."""
        case = self._case(case_id)
        height, width = case.image.shape[:2]
        return {
            "uri": png_uri(case.image),
            "width": width,
            "height": height,
            "target": _bits(case.mask),
            "notes": list(case.notes),
        }

    def case(self, case_id: str, asked: Asked, before: Asked) -> dict[str, Any]:
        """All candidates of a case that CLIP sees, with their ranks now and before.

        Returns:
            `pool`, `kept`: how many there are, now and before; `status`; `candidates`: by rank, each with its
            `number` in the pool, `rank`, `score`, likeness with each of the `sentences`, `box`, `area` in pixels,
            `selected`, and `old` and `old_score`, which are null where it was not seen before; `lost`: those that were
            retrieved before and are seen no longer.
        """
        now, then = self._found(case_id, asked), self._found(case_id, before)
        old, order = self._ranks(then), self._order(now)
        digests, chosen = _names(now), set(now.rows.tolist())
        rows = [
            {
                "number": int(now.kept.ids[row]),
                "rank": rank,
                "old": old.get(digests[row], (None, None))[0],
                "score": float(now.scores[row]),
                "old_score": old.get(digests[row], (None, None))[1],
                "sentences": now.by_sentence[:, row].tolist(),
                "box": now.kept.boxes[row].tolist(),
                "area": int(now.kept.areas[row]),
                "selected": int(row) in chosen,
            }
            for rank, row in enumerate(order[:_SHOWN].tolist(), 1)
        ]
        lost = [name for name in _chosen(then) if name not in digests]
        return {
            "status": str(now.status),
            "pool": [len(now.pool), len(then.pool)],
            "kept": [len(now.kept), len(then.kept)],
            "candidates": rows,
            "lost": len(lost),
        }

    def rankings(self, case_ids: Sequence[str], asked: Asked, before: Asked) -> list[dict[str, Any]]:
        """What is retrieved from each case, and whether that is another choice than before.

        Returns:
            For each case `id`, `pool` and `kept` (how many candidates), `score` of the first, `same`, and `old`: which
            rank the first had before, null where it was not seen; or `id` and `error`.
        """
        return [self._answered(each, lambda each=each: self._ranking(each, asked, before)) for each in case_ids]

    def scores(self, case_ids: Sequence[str], asked: Asked, masks: bool = False) -> list[dict[str, Any]]:
        """What a run would write of each case: `id`, `dsc`, `confidence`, `at_least`, `flag`, `reason`, `status`, and
        with `masks` the `mask`; or `id` and `error`.
        """
        return [self._answered(each, lambda each=each: self._scores(each, asked, masks)) for each in case_ids]

    def candidate(self, case_id: str, asked: Asked, number: int) -> dict[str, Any]:
        """The mask of one candidate; raises ConfigError where there is none of that number."""
        pool = self._found(case_id, asked).pool
        if not 0 <= number < len(pool):
            raise ConfigError(f"there is no candidate {number} among {len(pool)}")
        return {"mask": _bits(pool.masks[number]), "box": pool.boxes[number].tolist()}

    def prompted(self, case_id: str, boxes: Sequence[object], points: Sequence[object]) -> dict[str, Any]:
        """SAM's mask for boxes, united as the last stage does it, or for points (x, y, label) in at most one box.

        Raises:
            ConfigError: there is no usable box and no point, or several boxes beside points.
        """
        case = self._case(case_id)
        frames, marks = _array(boxes, 4), _array(points, 3)
        size = case.image.shape[0], case.image.shape[1]
        usable = usable_boxes(frames, size)
        if len(usable) < len(frames) or not len(frames) + len(marks):
            raise ConfigError("SAM is asked for a box of some extent inside the image, or for a point")
        picture = Picture(case.image)
        if not len(marks):
            mask = self._sam.organ(picture, usable, self.config.organ)
        else:
            inside = (marks[:, :2] >= 0).all() and (marks[:, :2] <= [size[1] - 1, size[0] - 1]).all()
            if len(usable) > 1 or not inside or not np.isin(marks[:, 2], [0, 1]).all():
                raise ConfigError("points lie inside the image, are labelled 0 or 1, and go with one box at most")
            mask = self._sam.pointed(picture, marks, usable[0] if len(usable) else None, self.config.organ)
        known = case.mask is not None and (case.mask.any() or mask.any())
        dsc = dice(mask, case.mask, self.config.score.empty_target) if case.mask is not None and known else None
        return {"mask": _bits(mask), "dsc": _told(dsc), "pixels": int(mask.sum())}

    def _case(self, case_id: str) -> Case:
        return self._ref(case_id).load()

    def _ref(self, case_id: str) -> CaseRef:
        if case_id not in self._refs:
            raise ConfigError(f"there is no case {case_id!r} in {self.dataset.name}")
        return self._refs[case_id]

    def _begun(self, asked: Asked) -> Run:
        """A run of this configuration that writes nothing; its text is encoded here."""
        config = configured(self.config, asked)
        nothing = Identity("run", {}, [])
        run = Run(config, self.folder, [], self.dataset, self.lab.method(config), nothing, {})
        run.natives = self._natives
        return run

    def _found(self, case_id: str, asked: Asked) -> Found:
        method, picture = self._run(asked).method, Picture(self._case(case_id).image)
        assert isinstance(method, Salip | SamClip)  # other methods are refused before
        return method.finder.find(picture, Stopwatch())

    def _order(self, found: Found) -> NDArray[np.int64]:
        """The rows of the candidates that CLIP saw, best first."""
        return ranked(found.kept, found.scores, self.config.retrieval.ties)

    def _ranks(self, found: Found) -> Mapping[bytes, tuple[int, float]]:
        """Rank and score of each candidate that CLIP saw."""
        names = _names(found)
        return {names[row]: (rank, float(found.scores[row])) for rank, row in enumerate(self._order(found).tolist(), 1)}

    def _ranking(self, case_id: str, asked: Asked, before: Asked) -> dict[str, Any]:
        now, then = self._found(case_id, asked), self._found(case_id, before)
        chosen, old = _chosen(now), self._ranks(then)
        return {
            "pool": len(now.pool),
            "kept": len(now.kept),
            "score": float(now.scores[now.rows[0]]) if len(now.rows) else None,
            "same": set(chosen) == set(_chosen(then)),
            "old": old.get(chosen[0], (None, None))[0] if chosen else None,
        }

    def _scored(self, case_id: str, asked: Asked) -> tuple[CaseRecord, str | None]:
        run = self._run(asked)
        record, prediction, _ = judge(run, self._case(case_id))
        return record, _bits(prediction.mask)

    def _scores(self, case_id: str, asked: Asked, masks: bool) -> dict[str, Any]:
        record, bits = self._judged(case_id, asked)
        return {
            "dsc": _told(record.dsc),
            "confidence": _told(record.scores.get("confidence")),
            "at_least": _told(record.scores.get("dsc_at_least")),
            "flag": record.flag,
            "reason": REASONS.get(record.flag or "", ""),
            "status": record.status,
            "repaired": record.repaired,
            "boxes": record.boxes,
        } | ({"mask": bits} if masks else {})

    def _answered(self, case_id: str, answer: Any) -> dict[str, Any]:
        try:
            return {"id": case_id, **answer()}
        except CaseError as error:
            return {"id": case_id, "error": f"{error.code}: {error}"}


def _names(found: Found) -> list[bytes]:
    """What tells the candidates that CLIP saw apart in any pool of one image: a hash of each mask."""
    return [each.tobytes() for each in found.kept.masks.digests]


def _chosen(found: Found) -> list[bytes]:
    return [each.tobytes() for each in found.selected.masks.digests]


def _array(rows: Sequence[object], width: int) -> NDArray[np.float32]:
    try:
        found = np.array(list(rows), np.float32).reshape(-1, width)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"each takes {width} numbers") from error
    if not np.isfinite(found).all():
        raise ConfigError(f"each takes {width} finite numbers")
    return found


def _bits(mask: _Mask | None) -> str | None:
    """A mask (H, W) row by row, eight pixels a byte with the first in the highest bit, in base64."""
    return None if mask is None else base64.b64encode(np.packbits(mask).tobytes()).decode()


def _told(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
