"""For the fuzzing: valid files of the formats that extras and well-known trees bring, and their readers."""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import tifffile
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, generate_uid

from salip_exp.config import DatasetConfig, Files, Layout, Volume
from salip_exp.data import _dicom as dicom
from salip_exp.data import _itk as itk
from salip_exp.data import _npz as npz
from salip_exp.data import _ome as ome
from salip_exp.data.readers._coco import _read, _target, from_coco
from salip_exp.data.readers._layouts import label_names, placed
from salip_exp.data.readers._table import from_table
from salip_exp.data.volumes import is_volume, read_grid, read_volume
from salip_exp.errors import CaseError

VALUES = np.random.default_rng(3).integers(0, 900, (3, 6, 5)).astype(np.uint16)
Read = Callable[[bytes, Path], Any]


# -- valid files


def dicom_file(frames: int = 0, syntax: str = ExplicitVRLittleEndian, **tags: Any) -> bytes:
    """A slice, or frames with functional groups."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid(entropy_srcs=["a"])
    meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.Rows, data.Columns = VALUES.shape[1:]
    data.SamplesPerPixel, data.PhotometricInterpretation, data.SeriesInstanceUID = 1, "MONOCHROME2", "1.2.3"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
    data.PixelData = VALUES[: frames or 1].tobytes()
    size = {"PixelSpacing": [1, 2]}
    place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], **size}
    if frames:
        data.NumberOfFrames = frames
        data.SharedFunctionalGroupsSequence = Items(
            [
                group(
                    PlaneOrientationSequence=dict([list(place.items())[1]]),
                    PixelMeasuresSequence={"PixelSpacing": [1, 2]},
                )
            ]
        )
        data.PerFrameFunctionalGroupsSequence = Items([of_frame(number) for number in range(frames)])
        place = {}
    for name, value in {**place, **tags}.items():
        setattr(data, name, value)
    stream = io.BytesIO()
    if syntax == RLELossless:
        data.compress(RLELossless, generate_instance_uid=False)
    data.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def of_frame(number: int) -> Dataset:
    """What a frame says of itself."""
    return group(
        PlanePositionSequence={"ImagePositionPatient": [0, 0, 2 * number]},
        PixelValueTransformationSequence={"RescaleSlope": "2", "RescaleIntercept": "-5"},
        FrameVOILUTSequence={"WindowCenter": "40", "WindowWidth": "400"},
    )


def group(**groups: dict[str, Any]) -> Dataset:
    """One item of functional groups."""
    found = Dataset()
    for name, tags in groups.items():
        inner = Dataset()
        for key, value in tags.items():
            setattr(inner, key, value)
        setattr(found, name, Items([inner]))
    return found


def written(name: str, write: Callable[[Path], Any]) -> bytes:
    """What a library writes to a file of a name."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def itk_file(name: str, values: NDArray[Any] = VALUES, packed: bool = False) -> bytes:
    """NRRD or MetaImage."""
    image = sitk.GetImageFromArray(values)
    image.SetSpacing([0.7, 0.8, 2.5][: values.ndim])
    return written(name, lambda path: sitk.WriteImage(image, str(path), useCompression=packed))


def ome_file(values: NDArray[Any] = VALUES, axes: str = "ZYX", **options: Any) -> bytes:
    """OME-TIFF with sizes."""
    sizes = {f"PhysicalSize{axis}": 2 for axis in "XYZ"[: values.ndim]}
    return written(
        "a.ome.tif", lambda path: tifffile.imwrite(path, values, ome=True, metadata={"axes": axes, **sizes}, **options)
    )


def npz_file(**arrays: NDArray[Any]) -> bytes:
    """An archive of arrays."""
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


ARRAY = io.BytesIO()
np.save(ARRAY, VALUES)
COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "images/a.png", "height": 8, "width": 9}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 2,
                "segmentation": [[1, 1, 6, 1, 6, 5, 1, 5]],
                "bbox": [1, 1, 5, 4],
            },
            {"id": 2, "image_id": 1, "category_id": 2, "segmentation": {"counts": [10, 12, 50], "size": [8, 9]}},
        ],
        "categories": [{"id": 2, "name": "liver"}],
    }
).encode()
PACKED = coco_mask.encode(np.asfortranarray(np.eye(8, 9, dtype=np.uint8)))
PACKED_COCO = json.dumps(
    {
        "images": [{"id": 1, "file_name": "images/a.png", "height": 8, "width": 9}],
        "annotations": [
            {
                "image_id": 1,
                "category_id": 2,
                "segmentation": {"counts": PACKED["counts"].decode(), "size": [8, 9]},
            }
        ],
        "categories": [{"id": 2, "name": "liver"}],
    }
).encode()
TABLE = b"image,mask,group,subject,id\r\nimages/a.png,images/b.png,one,p1,x\r\nimages/b.png,,two,p2,\r\n"
NNUNET = b'{"channel_names": {"0": "CT", "1": "PET"}, "labels": {"background": 0, "liver": 1, "both": [1, 2]}}'
DECATHLON = b'{"modality": {"0": "CT", "1": "PET"}, "labels": {"0": "background", "1": "liver"}, "numTraining": 3}'


# -- readers


def every(*attempts: Callable[[], Any]) -> None:
    """Try every way to read a file, also where another refused it; the last one says how it ended."""
    for attempt in attempts[:-1]:
        try:
            attempt()
        except CaseError:
            continue
    attempts[-1]()


@contextmanager
def silence() -> Iterator[None]:
    """Fail where libraries that are not of Python write to the terminal."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as heard:
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            heard.seek(0)
            said = heard.read()
    assert not said, said


def read_dicom(data: bytes, folder: Path) -> None:
    path = folder / "dicom" / "p.dcm"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    dicom._heads.cache_clear()
    dicom._stacks.cache_clear()
    every(
        lambda: dicom.leaders([path]),
        lambda: is_volume(path),
        lambda: read_grid(path),
        lambda: read_volume(path),
        lambda: dicom.read_single(path, Volume()),
    )


def read_frames(data: bytes, folder: Path) -> None:
    read_dicom_ = folder / "dicom" / "p.dcm"
    every(lambda: read_dicom(data, folder), lambda: read_volume(read_dicom_))


def read_itk(name: str) -> Read:
    """A reader of what ITK reads, by the name of the file."""

    def read(data: bytes, folder: Path) -> None:
        path = folder / name
        path.write_bytes(data)
        with silence():
            every(lambda: itk.read(path, voxels=False), lambda: itk.read(path))

    return read


def read_ome(data: bytes, folder: Path) -> None:
    path = folder / "a.ome.tif"
    path.write_bytes(data)
    every(
        lambda: ome.read(path),
        lambda: ome.read(path, voxels=False),
        lambda: ome.read_flat(path),
        lambda: ome.is_stack(path),
    )


def read_npz(data: bytes, folder: Path) -> None:
    path = folder / "a.npz"
    path.write_bytes(data)
    every(
        lambda: npz.read(path),
        lambda: npz.read(path, mask=True),
        lambda: npz.read_flat(path, mask=True),
        lambda: npz.read_flat(path, mask=False),
        lambda: npz.is_stack(path),
    )


def read_array(data: bytes, folder: Path) -> None:
    """Damage of an array below the checksum of its archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("imgs.npy", data)
    path = folder / "b.npz"
    path.write_bytes(stream.getvalue())
    every(lambda: npz.is_stack(path), lambda: npz.read(path))


def pictures(folder: Path) -> None:
    """Two pictures of 8 x 9 pixels."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        if not (folder / "images" / name).exists():
            Image.fromarray(np.zeros((8, 9), np.uint8)).save(folder / "images" / name)


def read_coco(data: bytes, folder: Path) -> None:
    root = folder / "coco"
    pictures(root)
    path = root / "a.json"
    path.write_bytes(b'{"images": 0, ' + data[1:] if b'"images"' not in data else data)  # else it is not looked at
    _read.cache_clear()
    paired = from_coco(root, DatasetConfig(name="coco", layout="folder", files=Files(layout=Layout.coco)))
    for parts in paired.parts.values():
        _target(_read(path, path.stat().st_mtime_ns), parts["name"], None, path)


def read_table(data: bytes, folder: Path) -> None:
    root = folder / "table"
    pictures(root)
    (root / "t.csv").write_bytes(data)
    from_table(root / "t.csv", root)


def read_tree(data: bytes, folder: Path) -> None:
    root = folder / "tree"
    root.mkdir(exist_ok=True)
    (root / "dataset.json").write_bytes(data)
    label_names(root)
    placed(root, Files(layout=Layout.nnunet, channel="CT", label="liver"))


DICOM = (dicom_file(), dicom_file(syntax=ImplicitVRLittleEndian), dicom_file(syntax=RLELossless))
FRAMES = (dicom_file(3), dicom_file(2, syntax=ImplicitVRLittleEndian), dicom_file(3, syntax=RLELossless))
OME = (ome_file(), ome_file(compression="zlib", tile=(16, 16)), ome_file(VALUES[0], "YX"))
NPZ = (
    npz_file(imgs=VALUES, gts=VALUES % 2, spacing=np.array([1.0, 2.0, 3.0])),
    npz_file(imgs=VALUES[0], gts=VALUES[0] % 2),
)
ITK = {name: (itk_file(name), itk_file(name, packed=True), itk_file(name, VALUES[0])) for name in ("a.nrrd", "a.mha")}
