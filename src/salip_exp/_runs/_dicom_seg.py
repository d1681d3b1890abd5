"""A mask of a DICOM series as DICOM-SEG, by highdicom, which is an extra."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import salip_exp
from salip_exp._runs.records import sha256
from salip_exp.errors import CaseError, EnvironmentFault

_NAME = "salip_exp"
_MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"),
    *("AccessionNumber", "ReferringPhysicianName"),
)
"""Tags that a segmentation takes from its series, and that those who take out names may have taken out whole."""
_IN_META = {"SOPClassUID": "MediaStorageSOPClassUID", "SOPInstanceUID": "MediaStorageSOPInstanceUID"}
"""What a file says twice, in its data and before them (PS3.10, 7.1): those who take out names may leave one."""
_OF_SERIES = ("SeriesInstanceUID", "FrameOfReferenceUID", "StudyInstanceUID")

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
        CaseError: E_FORMAT, the series lacks what a segmentation cannot do without.
        EnvironmentFault: highdicom is not installed.
    """
    slices = [_complete(path) for path in files]
    try:
        if len(slices) > 1 and "ImagePositionPatient" in slices[0]:
            _measure(slices)
        return _bytes(slices, whole, organ)
    except (AttributeError, ValueError, TypeError, KeyError) as error:
        raise CaseError("E_FORMAT", f"{files[0]} lacks what a DICOM-SEG refers to ({error}).") from error


def _measure(slices: Sequence[Any]) -> None:
    """Give slices the spacing of their positions, whatever they say of it: a segmentation says the same, and a volume
    that is read from it by others is refused where positions say otherwise. SimpleITK writes 1 into every series.
    """
    along, down = np.reshape(np.asarray(slices[0].ImageOrientationPatient, float), (2, 3))
    apart = np.subtract(slices[1].ImagePositionPatient, slices[0].ImagePositionPatient).astype(float)
    spacing = f"{abs(float(apart @ np.cross(along, down))):.9g}"
    for each in slices:
        each.SpacingBetweenSlices = spacing
        if "SliceThickness" not in each:
            each.SliceThickness = spacing


def _complete(path: Path) -> Any:
    """A file of a series, with tags that a segmentation takes from it and that converters leave out or empty.

    Raises:
        CaseError: E_FORMAT, nothing names its series.
    """
    try:
        from pydicom import dcmread
    except ImportError as error:
        raise EnvironmentFault(_ABSENT) from error
    data = dcmread(path)
    for name, twin in _IN_META.items():
        if not data.get(name) and twin in data.file_meta:
            setattr(data, name, data.file_meta[twin].value)
    known = next((str(data.get(name)) for name in _OF_SERIES if data.get(name)), None)
    if known is None:
        raise CaseError("E_FORMAT", f"{path} names neither its series nor its study, which a DICOM-SEG refers to.")
    made = {name: _uid(name, known) for name in _OF_SERIES if not data.get(name)}
    for name, value in {**{name: "" for name in _MAY_BE_EMPTY if name not in data}, **made}.items():
        setattr(data, name, value)
    return data


def _uid(*parts: str) -> str:
    """A number that is the same whenever it is made of the same."""
    from pydicom.uid import generate_uid

    return str(generate_uid(entropy_srcs=list(parts)))


def _bytes(slices: Sequence[Any], whole: NDArray[np.bool_], organ: str) -> bytes:
    try:
        import highdicom
        from pydicom.sr.codedict import codes
    except ImportError as error:
        raise EnvironmentFault(_ABSENT) from error
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
        series_instance_uid=_uid("series", *identity),
        series_number=int(slices[0].get("SeriesNumber") or 0) + 1000,
        sop_instance_uid=_uid("instance", *identity),
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
