"""What the formats and trees of others cost as they grow: four times as much takes less than six times the work."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed as checked
from salip_exp.data import _dicom as dicom
from salip_exp.data.case import Dataset
from salip_exp.data.datasets import open_dataset
from salip_exp.data.readers import _coco as coco
from salip_exp.data.readers._proposals import propose
from salip_exp.data.volumes import read_volume
from salip_exp.errors import DataError

sys.path.insert(0, str(Path(__file__).parent))
formats = importlib.import_module("formats")
SIZES = (20, 80)


def opened(root: Path, *more: str) -> Dataset:
    keys = ["dataset=folder", "vdt=brain", f"dataset.root={root}", "dataset.volume.axis=axial", *more]
    return open_dataset(checked(compose(keys)).dataset, 1)


def slices(folder: Path, n: int, series: Callable[[int], str] = lambda number: "1.2") -> None:
    folder.mkdir(parents=True)
    for number in range(n):
        tags = {"ImagePositionPatient": [0, 0, 2 * number], "SeriesInstanceUID": series(number)}
        (folder / f"IM{number}").write_bytes(formats.dicom_file(**tags))


def pictures(root: Path, n: int, image: str = "images/{}.png", mask: str = "masks/{}.png") -> None:
    for number in range(n):
        for name in (image, mask):
            path = root / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.zeros((8, 9), np.uint8)).save(path)


def one_series(root: Path, n: int) -> Callable[[], Any]:
    slices(root / "images" / "p", n)
    return lambda: [ref.load() for ref in opened(root).refs]


def a_series_of_each_slice(root: Path, n: int) -> Callable[[], Any]:
    slices(root / "images", n, lambda number: f"1.2.{number}")
    return lambda: opened(root)


def frames(root: Path, n: int) -> Callable[[], Any]:
    root.mkdir()
    many = formats.VALUES[np.arange(n) % 3]
    data = formats.dicom_file(n, PixelData=many.tobytes())
    (root / "p.dcm").write_bytes(data)
    return lambda: read_volume(root / "p.dcm")


def pages(root: Path, n: int) -> Callable[[], Any]:
    root.mkdir()
    planes = [(f'<TiffData IFD="{k}" FirstZ="{k}" PlaneCount="1"/>') for k in range(n)]
    xml = (
        f'<OME><Image ID="i"><Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="8" SizeZ="{n}" SizeC="1" '
        f'SizeT="1">{"".join(planes)}</Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(root / "a.ome.tif") as writer:
        for number in range(n):
            said = xml if number == 0 else None
            writer.write(np.zeros((8, 6), np.uint8), description=said, metadata=None, contiguous=False)
    return lambda: read_volume(root / "a.ome.tif")


def archives(root: Path, n: int) -> Callable[[], Any]:
    root.mkdir()
    for number in range(n):
        (root / f"{number}.npz").write_bytes(formats.NPZ[1])
    return lambda: [ref.load() for ref in opened(root, "dataset.files.layout=medsam_npz").refs]


def headers(root: Path, n: int) -> Callable[[], Any]:
    (root / "images").mkdir(parents=True)
    for number in range(n):
        (root / "images" / f"{number}.mha").write_bytes(formats.ITK["a.mha"][0])
        (root / "images" / f"{number}.nrrd.nrrd").write_bytes(formats.ITK["a.nrrd"][0])
    return lambda: opened(root)


def annotations(root: Path, n: int) -> Callable[[], Any]:
    pictures(root, n, mask="images/{}.png")
    told = json.loads(formats.COCO)
    told["images"] = [dict(told["images"][0], id=k, file_name=f"images/{k}.png") for k in range(n)]
    told["annotations"] = [dict(each, image_id=k) for k in range(n) for each in told["annotations"]]
    (root / "a.json").write_text(json.dumps(told))
    return lambda: [ref.load() for ref in opened(root, "dataset.files.layout=coco").refs]


def table(root: Path, n: int) -> Callable[[], Any]:
    pictures(root, n)
    rows = "".join(f"images/{number}.png,masks/{number}.png,g{number},p{number}\n" for number in range(n))
    (root / "t.csv").write_text(f"image,mask,group,subject\n{rows}")
    return lambda: opened(root, f"dataset.files.table={root / 't.csv'}")


def patterns(root: Path, n: int) -> Callable[[], Any]:
    """Ids of as many lengths as there are images."""
    for number in range(n):
        for name in (f"scans/{'x' * number}_img.png", f"labels/{'x' * number}_seg_{number}.png"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
    keys = ("dataset.files.images='scans/{id}_img.png'", "dataset.files.masks='labels/{id}_seg*.png'")
    return lambda: opened(root, *keys)


def nnunet(root: Path, n: int) -> Callable[[], Any]:
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    whole = nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
    for number in range(n):
        nib.save(whole, root / "imagesTr" / f"la_{number}_0000.nii")
        nib.save(whole, root / "labelsTr" / f"la_{number}.nii")
    return lambda: opened(root, "dataset.files.layout=nnunet")


def nothing_pairs(root: Path, n: int) -> Callable[[], Any]:
    pictures(root, n, "images/case{}_img.png", "masks/truth-{}.png")

    def attempt() -> None:
        with pytest.raises(DataError, match="pairs"):
            opened(root)

    return attempt


@pytest.mark.ci
@pytest.mark.fault("B6")
@pytest.mark.parametrize(
    "make",
    [
        *(one_series, a_series_of_each_slice, frames, pages, archives, headers, annotations, table, patterns, nnunet),
        nothing_pairs,
    ],
    ids=lambda make: make.__name__,
)
def test_four_times_as_much_takes_less_than_six_times_the_work(tmp_path: Path, helpers: Any, make: Any) -> None:
    make(tmp_path / "first", 4)()  # what is made once is made
    work = {}
    for n in SIZES:
        attempt = make(tmp_path / str(n), n)
        for kept in (dicom._heads, dicom._stacks, coco._read):
            kept.cache_clear()
        work[n] = helpers.calls(attempt)
    assert work[SIZES[1]] < 6 * work[SIZES[0]], work


@pytest.mark.ci
@pytest.mark.fault("B6")
def test_a_proposal_is_tried_on_no_more_than_so_many_files(helpers: Any) -> None:
    root, work = Path("root"), {}
    for n in (1000, 4000):
        images, masks = ([root / f"{part}{k}.png" for k in range(n)] for part in ("scans/img_", "labels/seg-"))
        work[n] = helpers.calls(lambda images=images, masks=masks: propose(root, images, masks))
    assert work[4000] < 6 * work[1000], work
