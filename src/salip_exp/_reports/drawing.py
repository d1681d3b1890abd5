"""Pictures of any case of a run, drawn when they are asked for, from its folder, its data and the cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from salip_exp._reports.overlays import layers_of
from salip_exp._reports.page import png_uri
from salip_exp._reports.strips import as_scored, draw_strip
from salip_exp._runs.lab import Lab
from salip_exp._runs.records import CaseRecord, StaleRecord, read_record, record_path, scored_case, scored_mask
from salip_exp._settings.differences import config_of
from salip_exp._settings.folders import File
from salip_exp._wording import many
from salip_exp.config import Config, Task
from salip_exp.data.case import CaseRef
from salip_exp.errors import DataError
from salip_exp.methods.base import Method

_HERE = ("device", "threads", "download", "progress")
"""Keys that say where a case is computed, not what comes out; those of this command count."""


class Drawer:
    """Draws cases of runs; two at once are the caller's care.

    Args:
        config: of the command.
    """

    def __init__(self, config: Config) -> None:
        self._here = {name: getattr(config, name) for name in _HERE}
        self._opened = lru_cache(1)(self._open)  # memory holds the networks of one run

    def layers(self, folder: Path, case_id: str) -> dict[str, Any]:
        """What lies over what in a picture: `src` (the image alone, a data URI), `size` (width, height), `outlines` of
        target and prediction as paths of SVG, and `boxes`, in pixels.

        Raises:
            SalipError, CaseError: the case cannot be read, or is not what was scored.
        """
        record = _record(folder, case_id)
        case = scored_case(self._run(folder).ref(case_id), record)
        return {"src": png_uri(case.image), **layers_of(case, scored_mask(folder, record), record)}

    def strip(self, folder: Path, case_id: str) -> dict[str, Any]:
        """The cascade of a case as `strip` (a data URI), and in `said` how what was computed now differs from the run.

        Raises:
            SalipError, CaseError: the case cannot be read, is not what was scored, or its method has no pool.
        """
        record, run = _record(folder, case_id), self._run(folder)
        if record.n_pool is None:
            raise DataError(f"method={run.config.method} has no candidates, and so no strip")
        case = scored_case(run.ref(case_id), record)
        prediction = as_scored(folder, run.method.predict(case), record, run.config)
        strip = draw_strip(case, prediction, record, run.config)
        moved = int((prediction.mask != scored_mask(folder, record)).sum())
        said = f"Computed anew, its mask differs from the scored one in {many(moved, 'pixel')}." if moved else ""
        return {"strip": png_uri(np.asarray(strip)), "said": said}

    def _run(self, folder: Path) -> _Opened:
        return self._opened(folder, (folder / File.manifest).stat().st_mtime_ns)

    def _open(self, folder: Path, written: int) -> _Opened:
        return _Opened(replace(config_of(folder), task=Task.run, **self._here), Lab())


def _record(folder: Path, case_id: str) -> CaseRecord:
    try:
        record = read_record(record_path(folder, case_id))
    except StaleRecord as error:
        raise DataError(f"the record of {case_id} {error}") from error
    if record.failed:
        raise DataError(f"{case_id} failed: {record.message}")
    return record


@dataclass(frozen=True)
class _Opened:
    """A run whose cases are asked for."""

    config: Config
    lab: Lab

    @cached_property
    def _refs(self) -> Mapping[str, CaseRef]:
        return {ref.case_id: ref for ref in self.lab.dataset(self.config).refs}

    @cached_property
    def method(self) -> Method:
        """Its method, with networks."""
        return self.lab.method(self.config)

    def ref(self, case_id: str) -> CaseRef:
        """A case by its id."""
        if case_id not in self._refs:
            raise DataError(f"{case_id} is no longer in the data")
        return self._refs[case_id]
