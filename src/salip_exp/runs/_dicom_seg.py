"""A mask of a DICOM series as DICOM-SEG, by highdicom, which is an extra."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import salip_exp
from salip_exp.errors import CaseError, EnvironmentFault
from salip_exp.runs.records import sha256

_NAME = "salip_exp"
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""Tags that a segmentation takes from its series, and that those who take out names may have taken out whole."""

_ABSENT = "DICOM-SEG is written by an extra: pip install 'salip_exp[seg]'"


def require_extra() -> None:
    """Raise EnvironmentFault where highdicom is not installed, before anything is computed."""
    if find_spec("highdicom") is None:
        raise EnvironmentFault(_ABSENT)


def segmentation(files: Sequence[Path], whole: NDArray[np.bool_], organ: str) -> bytes:
    """The file of a segmentation that refers to every slice of its series and, as such a file must, to its patient.

    Numbers that name it are made of the mask and the series: the same mask gives the same file.

    Args:
        files: of the series, one slice each, in the order of the last axis of the mask; or one, whose frames are.
        whole: bool (columns, rows, slices).
        organ: what it is of.

    Raises:
        CaseError: E_FORMAT, the series lacks what a segmentation refers to.
        EnvironmentFault: highdicom is not installed.
    """
    try:
        import highdicom
        from pydicom import dcmread
        from pydicom.sr.codedict import codes
        from pydicom.uid import generate_uid
    except ImportError as error:
        raise EnvironmentFault(_ABSENT) from error
    slices = [dcmread(path) for path in files]
    for each in slices:
        for name in _MAY_BE_EMPTY:
            if name not in each:
                setattr(each, name, "")
    absent = next((name for name in ("StudyInstanceUID", "FrameOfReferenceUID") if name not in slices[0]), None)
    if absent is not None:
        raise CaseError("E_FORMAT", f"{files[0]} has no {absent}, which a DICOM-SEG refers to: only NIfTI is written.")
    identity = [sha256(np.packbits(whole).tobytes()), str(slices[0].SeriesInstanceUID), organ]
    segment = highdicom.seg.SegmentDescription(
        segment_number=1,
        segment_label=organ[:64],
        segmented_property_category=codes.SCT.AnatomicalStructure,
        segmented_property_type=codes.SCT.Organ,
        algorithm_type=highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=highdicom.AlgorithmIdentificationSequence(
            name=_NAME, version=salip_exp.__version__, family=codes.DCM.ArtificialIntelligence
        ),
    )
    made = highdicom.seg.Segmentation(
        source_images=slices,
        pixel_array=np.ascontiguousarray(whole.transpose(2, 1, 0)).astype(np.uint8),
        segmentation_type=highdicom.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[segment],
        series_instance_uid=generate_uid(entropy_srcs=["series", *identity]),
        series_number=int(slices[0].get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=generate_uid(entropy_srcs=["instance", *identity]),
        instance_number=1,
        manufacturer=_NAME,
        manufacturer_model_name=_NAME,
        software_versions=salip_exp.__version__,
        device_serial_number="0",
        series_description=f"{organ} by {_NAME}"[:64],
    )
    stream = io.BytesIO()
    made.save_as(stream)
    return stream.getvalue()
