"""Predictions in the user's space: on the grid of each image and under its own name, a volume in one file.

They are made of the records and of `predictions/`, when the last case is finished.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from salip_exp._files import atomic_write, png
from salip_exp._runs._dicom_seg import segmentation
from salip_exp._runs.records import CaseRecord, safe_name, scored_mask
from salip_exp._settings.folders import File
from salip_exp.config import Axis, DatasetConfig
from salip_exp.data._dicom import as_stored, is_dicom, stack_of
from salip_exp.data.loading import is_mirrored, native_mask
from salip_exp.data.readers._layouts import label_number
from salip_exp.data.volumes import read_grid, read_header
from salip_exp.errors import CaseError, require_lasting

PICTURE, VOLUME = ".png", ".nii.gz"
_LONGEST = 255
"""Bytes of a file name."""


def mask_file(record: CaseRecord) -> str | None:
    """Which file of a run folder holds the prediction of a case at the size of its image; None where none can."""
    if record.failed or record.image is None or record.size is None:
        return None
    if record.axis is None:
        return f"{File.masks}/{own_name(record.case_id, PICTURE)}"
    return f"{File.masks}/{own_name(record.volume or record.case_id, VOLUME)}"


def write_masks(folder: Path, records: Sequence[CaseRecord], config: DatasetConfig) -> list[str]:
    """Write the prediction of every case at the size of its image; the slices of a volume go into one file.

    Slices that were not run on are empty there. What cannot be led back (its image or its prediction is gone) has no
    file; so has what records of earlier versions do not tell.

    Returns:
        A sentence for each file that was wanted and is not there.

    Raises:
        EnvironmentFault: the folder cannot be written, or what is there cannot be read at the moment.
    """
    files: dict[str, list[CaseRecord]] = {}
    absent = []
    for record in records:
        if (name := mask_file(record)) is not None:
            files.setdefault(name, []).append(record)
    for name, cases in files.items():
        try:
            _write(folder, name, cases, config)
        except CaseError as error:
            require_lasting(error)
            absent.append(f"no mask of {cases[0].case_id}: {error.code} {error}")
            (folder / name).unlink(missing_ok=True)
            continue
        try:
            _write_segmentation(folder, name, cases[0], config)
        except CaseError as error:
            require_lasting(error)
            _beside(folder / name).unlink(missing_ok=True)
            absent.append(f"no DICOM-SEG of {cases[0].volume}: {error.code} {error}")
    return absent


def _write(folder: Path, name: str, cases: Sequence[CaseRecord], config: DatasetConfig) -> None:
    """Write the file of a picture, or of a volume's slices."""
    masks = {each.slice or 0: native(folder, each, config) for each in cases}
    first = cases[0]
    if first.axis is None:
        atomic_write(folder / name, png(masks[first.slice or 0].astype(np.uint8) * 255))
        return
    axis, source = Axis(first.axis), Path(first.image or "")
    image = image_of(source, axis, is_mirrored(axis, config), masks, label_number(config))
    atomic_write(folder / name, gzip.compress(image.to_bytes(), mtime=0))


def _write_segmentation(folder: Path, name: str, case: CaseRecord, config: DatasetConfig) -> None:
    """Write a volume's mask as DICOM-SEG beside it, where that is wanted and its image is a DICOM series."""
    source = Path(case.image or "")
    if case.axis is None or not config.files.dicom_seg or not is_dicom(source):
        return
    image: Any = nib.load(folder / name)
    whole = np.asarray(image.dataobj) != 0
    content = segmentation(stack_of(source), as_stored(source, whole), config.roi)
    atomic_write(_beside(folder / name), content)


def _beside(mask: Path) -> Path:
    """The DICOM-SEG beside the NIfTI of a mask."""
    return mask.with_name(f"{mask.name.removesuffix(VOLUME)}.dcm")


def native(folder: Path, record: CaseRecord, config: DatasetConfig) -> NDArray[np.bool_]:
    """The prediction of a record, bool, at the size of its image; raises CaseError where it is gone or changed."""
    assert record.size is not None
    return native_mask(scored_mask(folder, record), (record.size[0], record.size[1]), config.resize)


def image_of(path: Path, axis: Axis, mirrored: bool, slices: Mapping[int, NDArray[np.bool_]], label: int) -> Any:
    """Masks of slices as a volume that lies on the volume of a file: its shape, its header's affines and units.

    Args:
        path: of the volume that the slices were cut from.
        axis: that they were cut along.
        mirrored: whether they were shown as radiologists look at them.
        slices: bool (H, W) by index, at the size that they were cut with; the others are empty.
        label: the number that voxels of the organ get.

    Returns:
        nibabel's image, NIfTI of the kind of the file.

    Raises:
        CaseError: the file cannot be read.
    """
    return _labelled(read_header(path), read_grid(path).uncut(axis, slices, mirrored), label)


def _labelled(header: Any, whole: NDArray[np.bool_], label: int) -> Any:
    """A mask (X, Y, Z) as nibabel's image with the geometry of a header, and nothing else of it."""
    values = whole.reshape(header.get_data_shape()).astype(np.min_scalar_type(label)) * label
    own = type(header)()
    own.set_data_shape(values.shape)
    own.set_data_dtype(values.dtype)
    for name in _GEOMETRY:
        own[name] = header[name]
    own.set_intent("label", name="salip_exp")
    kind: Any = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    return kind(values, own.get_best_affine(), own)


_GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def own_name(case_id: str, suffix: str) -> str:
    """The file of a case in a folder of masks: the id itself where it is a plain path downwards, else a safe name."""
    name = PurePosixPath(f"{case_id}{suffix}")
    parts = f"{case_id}{suffix}".split("/")
    plain = str(name) == "/".join(parts) and not _odd(parts)
    return str(name) if plain else f"{safe_name(case_id)}{suffix}"


def _odd(parts: Iterable[str]) -> bool:
    """Whether parts of a path could lead elsewhere, cannot be names of files, or could be taken for a mask."""
    *folders, last = parts
    return (
        any(part in ("", ".", "..") or "\\" in part or not part.isprintable() for part in (*folders, last))
        or any(len(part.encode("utf-8", "surrogateescape")) > _LONGEST for part in (*folders, last))
        or any(part.endswith((PICTURE, VOLUME)) for part in folders)
    )
