"""The masks of all candidates of a run, which keeps only their figures: the method is asked again, and must agree."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from rich.text import Text

from salip_exp._console import progress, shown, wide_console
from salip_exp._files import atomic_write
from salip_exp._runs.candidates import frame_of, read_table, table_of
from salip_exp._runs.lab import Lab
from salip_exp._runs.masks import own_name
from salip_exp._runs.records import CaseRecord, StaleRecord, scored_case
from salip_exp._settings.folders import File
from salip_exp._wording import many
from salip_exp.config import Config
from salip_exp.data.case import CaseRef
from salip_exp.data.loading import native_mask
from salip_exp.errors import CaseError, DataError
from salip_exp.methods.base import Method

STACK, TABLE = ".tif", ".csv"
_SAME = ["candidate", "area", "x0", "y0", "x1", "y1"]
"""What tells candidates apart, at working size."""


def export_candidates(records: Sequence[CaseRecord], config: Config, run: Path, folder: Path, lab: Lab) -> int:
    """Write two files for each case below `candidates/<run>/`, called as the case: a stack of masks and their table.

    The stack is a TIFF of as many pages as the case has candidates, 0 and 255, at the size of the image (of a slice:
    upright, as it is shown). The table has a row for each page with the columns of `candidates.parquet`, box and area
    in pixels of the stack. What the networks computed for the run is taken from the cache, and else computed anew.

    Args:
        records: of the run.
        config: of the run.
        run: its folder.
        folder: to write to.
        lab: lends data and networks.

    Returns:
        0.

    Raises:
        DataError: the run has no candidates, an image was changed, or the candidates are others today.
        EnvironmentFault: the folder cannot be written.
    """
    done = [each for each in records if each.candidates_sha256 is not None and each.size is not None]
    if not done:
        raise DataError(
            f"{run} holds no candidates on its images: method={config.method} has none, the run is of 0.1.0, or its "
            "stress moves images"
        )
    place, count = folder / File.candidates / run.resolve().name, 0
    refs = {ref.case_id: ref for ref in lab.dataset(config).refs}
    method = lab.method(config)
    with progress(len(done), config.progress, "case") as report:
        for record in done:
            try:
                frame, masks = _candidates(run, record, refs.get(record.case_id), method, config)
            except (CaseError, StaleRecord) as error:
                raise DataError(f"{record.case_id}: {error}") from error
            _write(place, record, frame, masks)
            count += len(masks)
            report(f"{count:,} candidates")
    wide_console().print(Text(f"{many(len(done), 'case')}, {many(count, 'candidate')}: {shown(place)}"))
    return 0


def _candidates(
    run: Path, record: CaseRecord, ref: CaseRef | None, method: Method, config: Config
) -> tuple[pd.DataFrame, list[NDArray[np.bool_]]]:
    """The table of a case as the run has it, with boxes and areas at native size, and the masks in the same order."""
    if ref is None:
        raise CaseError("E_READ", "it is no longer in the data")
    prediction = method.predict(scored_case(ref, record))
    before, now = read_table(run, record), table_of(prediction)
    if before is None or now is None or any(not np.array_equal(before[name], now[name]) for name in _SAME):
        why = "computed anew its candidates are others (another cache, and device, threads or version): run again"
        raise CaseError("E_CHANGED", why)
    assert prediction.pool is not None and record.size is not None
    size = record.size[0], record.size[1]
    masks = [native_mask(prediction.pool.masks[row], size, config.dataset.resize) for row in range(len(now))]
    width = before["sentences"].shape[1]
    frame = frame_of(before, [str(number) for number in range(width)])
    frame[["x0", "y0", "x1", "y1"]] = np.array([_box(mask) for mask in masks], np.int64).reshape(-1, 4)
    return frame.assign(area=[int(mask.sum()) for mask in masks]), masks


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 of a mask (H, W), far edges inclusive; of an empty one x1 and y1 lie before the others."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])) if len(rows) else (0, 0, -1, -1)


def _write(place: Path, record: CaseRecord, frame: pd.DataFrame, masks: Sequence[NDArray[np.bool_]]) -> None:
    numbered = frame.assign(page=np.arange(1, len(frame) + 1))
    columns = ["page", *frame.columns]
    atomic_write(place / own_name(record.case_id, TABLE), numbered[columns].to_csv(index=False, lineterminator="\n"))
    pages = [Image.fromarray(mask.astype(np.uint8) * 255) for mask in masks]
    if pages:
        stream = io.BytesIO()
        pages[0].save(stream, "tiff", save_all=True, append_images=pages[1:], compression="tiff_deflate")
        atomic_write(place / own_name(record.case_id, STACK), stream.getvalue())
