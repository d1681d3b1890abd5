"""OME-TIFF: pages that are one volume, or one picture, as the OME-XML of the file says; tifffile is an extra.

The XML says which page is which plane and how large pixels are; it is read here, since what it cannot mean is to be
refused: tifffile by itself fills planes that are missing with zeros. Nothing beside the file is opened.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from salip_exp._files import SMALL, open_file
from salip_exp._wording import some
from salip_exp.data._stored import UNSIZED, Stored, from_lps, grid, reading, require_fair
from salip_exp.data._tiff import require_fair_pages
from salip_exp.errors import CaseError, EnvironmentFault

_ENDINGS = (".ome.tif", ".ome.tiff")
_MOST = 4 << 30
"""Bytes of a file."""
_MILLIMETRES = {"nm": 1e-6, "µm": 1e-3, "μm": 1e-3, "um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3, "Å": 1e-7}
"""Of the units of length that say how large something is; `pixel` and `reference frame` do not."""
_LARGEST = 1 << 20
"""Of a size in the XML; what all together may be is asked for elsewhere."""
_ELEMENTS = 500_000
"""Marks of an OME-XML; three for each page are many."""
_BLACK_IS_ZERO, _RGB = 1, 2
"""Values of TIFF's PhotometricInterpretation that are read."""


@dataclass(frozen=True)
class _Image:
    """The one image of a file.

    Attributes:
        planes, rows, columns: its size.
        colours: 3 for red, green and blue in one plane, else 1.
        pages: where each plane stands in the file.
        size: millimetres along columns, rows and planes; None where the XML does not say.
    """

    planes: int
    rows: int
    columns: int
    colours: int
    pages: tuple[int, ...]
    size: tuple[float | None, float | None, float | None]


def is_ome(path: Path) -> bool:
    """Whether a file is named as OME-TIFF."""
    return path.name.lower().endswith(_ENDINGS)


def is_stack(path: Path) -> bool:
    """Whether the image of a file is a volume and no picture; raises CaseError where it cannot be read."""
    with _opened(path) as (_, image):
        return image.planes > 1


def read(path: Path, voxels: bool = True) -> Stored:
    """A volume; columns go left, rows posterior, planes superior, as nothing else is said.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS for several images, channels or times, E_FORMAT, E_PATH, E_AFFINE for sizes
            that are given in part.
        EnvironmentFault: tifffile is not installed.
    """
    with _opened(path) as (tif, image):
        if image.colours > 1:
            raise CaseError("E_DIMS", f"{path} is a volume of colours: give grey planes.")
        given = [each for each in image.size if each is not None]
        if given and len(given) < 3:
            raise CaseError("E_AFFINE", f"{path} says how large its voxels are along some axes alone: say all or none.")
        affine = from_lps([*np.diag(given or [1.0, 1.0, 1.0]), np.zeros(3)])
        shape = image.columns, image.rows, image.planes
        values = np.stack([_page(tif, image, number, path).T for number in image.pages], 2) if voxels else grid(shape)
        return Stored(values, affine, () if given else (UNSIZED,))


def read_flat(path: Path) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """A picture (rows, columns[, 3]), and millimetres per pixel (row, column) where the file says them.

    Raises:
        CaseError: as from `read`.
        EnvironmentFault: tifffile is not installed.
    """
    with _opened(path) as (tif, image):
        if image.planes > 1:
            raise CaseError("E_DIMS", f"{path} holds {image.planes} planes: give one picture.")
        column, row, _ = image.size
        return _page(tif, image, image.pages[0], path), None if row is None or column is None else (row, column)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, _Image]]:
    """The file, and what its XML says, once its promises are looked at."""
    with reading(path, "OME-TIFF"):
        tifffile = _tifffile()
        with open_file(path, _MOST) as stream:
            require_fair_pages(stream)
            with tifffile.TiffFile(stream, name=path.name) as tif:
                image = _image(_xml(tif.pages[0].description, path), path)
                require_fair((image.columns, image.rows, image.planes), path)
                yield tif, image


def _tifffile() -> Any:
    try:
        import tifffile
    except ImportError as error:
        raise EnvironmentFault("OME-TIFF is read by an extra: pip install 'salip_exp[ome]'") from error
    logging.getLogger("tifffile").setLevel(logging.CRITICAL + 1)
    return tifffile


def _xml(text: str, path: Path) -> ElementTree.Element:
    """The XML of a file without names of others: no entity is defined in it."""
    if len(text) > SMALL:
        raise CaseError("E_SIZE", f"{path} has an OME-XML of {len(text):,} characters: the limit is {SMALL:,}.")
    if text.count("<") > _ELEMENTS:
        raise CaseError("E_SIZE", f"{path} has an OME-XML of more than {_ELEMENTS:,} marks, which is the limit.")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise CaseError("E_FORMAT", f"{path} has an OME-XML that defines entities: write it again.")
    if "OME" not in text:
        raise CaseError("E_FORMAT", f"{path} is called OME-TIFF and has no OME-XML: call it .tif, or write it again.")
    root = ElementTree.fromstring(text)
    for each in root.iter():
        each.tag = each.tag.rpartition("}")[2]
    return root


def _image(root: ElementTree.Element, path: Path) -> _Image:
    """What the XML says of its one image."""
    if root.find("BinaryOnly") is not None:
        raise CaseError("E_PATH", f"{path} has its OME-XML in another file: write both into one.")
    images = root.findall("Image")
    if len(images) != 1:
        names = [str(each.get("Name") or each.get("ID")) for each in images]
        raise CaseError("E_DIMS", f"{path} holds {len(images)} images ({some(names)}): give each a file.")
    if next((each for each in root.iter() if each.tag.startswith("ModuloAlong")), None) is not None:
        raise CaseError("E_DIMS", f"{path} has an axis that is two (ModuloAlong): give planes in space alone.")
    pixels = images[0].find("Pixels")
    if pixels is None:
        raise ValueError("its image has no pixels")
    columns, rows, channels, planes, times = (_size(pixels, axis) for axis in "XYCZT")
    colours = int(next((each.get("SamplesPerPixel", "1") for each in pixels.findall("Channel")), "1"))
    if times > 1:
        raise CaseError("E_DIMS", f"{path} holds {times} times: give each a file.")
    if channels != colours or colours not in (1, 3):
        names = [str(each.get("Name") or each.get("ID")) for each in pixels.findall("Channel")]
        raise CaseError("E_DIMS", f"{path} holds {channels} channels ({some(names)}): give the one to look at.")
    size = tuple(_length(pixels, axis, path) for axis in "XYZ")
    return _Image(planes, rows, columns, colours, _pages(pixels, planes, root, path), (size[0], size[1], size[2]))


def _size(pixels: ElementTree.Element, axis: str) -> int:
    found = int(pixels.attrib[f"Size{axis}"])
    if not 1 <= found <= _LARGEST:
        raise ValueError(f"Size{axis} is {found}")
    return found


def _length(pixels: ElementTree.Element, axis: str, path: Path) -> float | None:
    """Millimetres of a pixel along an axis; None where the XML does not say."""
    said, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
    if said is None or unit in ("pixel", "reference frame"):
        return None
    found = float(said) * _MILLIMETRES.get(unit, math.nan)
    if not (math.isfinite(found) and found > 0):
        raise CaseError("E_AFFINE", f"{path} says that its pixels are {said} {unit} large: give nm, µm, mm, cm or m.")
    return found


def _pages(pixels: ElementTree.Element, planes: int, root: ElementTree.Element, path: Path) -> tuple[int, ...]:
    """The page of every plane along Z."""
    found: dict[int, int] = {}
    for data in pixels.findall("TiffData"):
        named = data.find("UUID")
        if named is not None and named.text != root.get("UUID") and named.get("FileName", path.name) != path.name:
            raise CaseError("E_PATH", f"{path} has planes in {named.get('FileName')}: write all into one file.")
        page, plane = int(data.get("IFD", 0)), int(data.get("FirstZ", 0))
        count = int(data.get("PlaneCount", data.get("NumPlanes", 1 if "IFD" in data.attrib else planes)))
        if not 0 < count <= planes - plane or plane < 0 or page < 0:
            raise ValueError(f"TiffData {data.attrib} is not within {planes} planes")
        for step in range(count):
            if found.setdefault(plane + step, page + step) != page + step:
                raise ValueError(f"plane {plane + step} stands on two pages")
    found = found or {plane: plane for plane in range(planes)}
    absent = [str(plane) for plane in range(planes) if plane not in found]
    if absent:
        raise ValueError(f"planes {some(absent)} stand nowhere")
    if len(set(found.values())) < planes:
        raise ValueError("a page is two planes")
    return tuple(found[plane] for plane in range(planes))


def _page(tif: Any, image: _Image, number: int, path: Path) -> NDArray[Any]:
    """The numbers (rows, columns[, 3]) of a page, all of which are there."""
    if number >= len(tif.pages):
        raise ValueError(f"page {number} is not there")
    page = tif.pages[number]
    shape = (image.rows, image.columns) + ((3,) if image.colours == 3 else ())
    if page.shape != shape or page.dtype is None or page.dtype.kind not in "iufb":
        raise CaseError("E_DIMS", f"{path}: page {number} is {page.shape} of {page.dtype}, and the XML says {shape}.")
    if page.photometric != (_RGB if image.colours == 3 else _BLACK_IS_ZERO):
        raise CaseError("E_FORMAT", f"{path} holds {page.photometric.name}: save grey with black zero, or RGB.")
    if "Orientation" in page.tags and page.tags["Orientation"].value != 1:
        raise CaseError("E_FORMAT", f"{path} says that it is to be turned: save it upright.")
    whole = len(page.dataoffsets) == len(page.databytecounts) == math.prod(page.chunked)
    if not whole or min(page.databytecounts) < 1:
        raise ValueError(f"page {number} is not whole")
    return np.asarray(page.asarray())
