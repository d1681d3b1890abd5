"""NRRD, whose headers are read by pynrrd, an extra, and MetaImage: the formats of ITK.

ITK itself is not asked: a damaged header ends the process in its reader of NRRD, and that of MetaImage tells the
terminal what it misses and goes on.
"""

from __future__ import annotations

import bz2
import io
import math
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from salip_exp._files import open_file
from salip_exp.data._stored import UNSIZED, Stored, from_lps, grid, reading, require_fair
from salip_exp.errors import CaseError, EnvironmentFault

NRRD = (".nrrd", ".nhdr")
META = (".mha", ".mhd")
ENDINGS = (*NRRD, *META)
_MOST = 4 << 30
_HEADER = 1 << 20
"""Bytes of the largest header."""
_KINDS = {
    "int8": "i1", "int8_t": "i1", "signed char": "i1", "uint8": "u1", "uint8_t": "u1", "uchar": "u1",
    "unsigned char": "u1", "int16": "i2", "int16_t": "i2", "short": "i2", "short int": "i2", "signed short": "i2",
    "signed short int": "i2", "uint16": "u2", "uint16_t": "u2", "ushort": "u2", "unsigned short": "u2",
    "unsigned short int": "u2", "int32": "i4", "int32_t": "i4", "int": "i4", "signed int": "i4", "uint32": "u4",
    "uint32_t": "u4", "uint": "u4", "unsigned int": "u4", "int64": "i8", "int64_t": "i8", "longlong": "i8",
    "long long": "i8", "long long int": "i8", "signed long long": "i8", "signed long long int": "i8", "uint64": "u8",
    "uint64_t": "u8", "ulonglong": "u8", "unsigned long long": "u8", "unsigned long long int": "u8",
    "float": "f4", "double": "f8",
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
"""Kinds of numbers by the names of both formats; `MET_LONG` has as many bytes as the machine that wrote it."""
_SPACES = {
    **dict.fromkeys(("left-posterior-superior", "lps"), (1, 1)),
    **dict.fromkeys(("right-anterior-superior", "ras"), (-1, -1)),
    **dict.fromkeys(("left-anterior-superior", "las"), (1, -1)),
}
"""What turns the first two axes of a space of NRRD to left and posterior."""
_WORDS = {"true": True, "t": True, "1": True, "false": False, "f": False, "0": False}
"""What MetaImage says for yes and no."""
_MILLIMETRES = {"mm": 1.0, "um": 1e-3, "µm": 1e-3, "cm": 10.0, "m": 1e3}


@dataclass(frozen=True)
class _Head:
    """What a header says.

    Attributes:
        shape: columns, rows, slices.
        kind: of the numbers, with its byte order.
        affine: as of `Stored`; None: it does not say how large voxels are.
        data: the file of the voxels.
        start: where they begin there; -1: as many bytes from its end as they take.
        packing: `raw`, `zlib` (gzip, too) or `bzip2`.
    """

    shape: tuple[int, ...]
    kind: np.dtype[Any]
    affine: NDArray[np.float64] | None
    data: Path
    start: int
    packing: str


def read(path: Path, voxels: bool = True) -> Stored:
    """The volume of a file.

    Args:
        voxels: whether they are read; without, all are zero.

    Raises:
        CaseError: E_READ, E_SIZE, E_DIMS, E_FORMAT, E_AFFINE, or E_PATH for a header whose voxels do not lie beside it.
        EnvironmentFault: pynrrd, which NRRD needs, is not installed.
    """
    with reading(path, "NRRD or MetaImage"):
        head = _nrrd(path) if path.suffix.lower() in NRRD else _meta(path)
        require_fair(head.shape, path)
        values = _voxels(head, path) if voxels else grid(head.shape)
        unsized = head.affine is None
        affine = _affine(np.eye(3), np.zeros(3)) if head.affine is None else head.affine
        return Stored(values, affine, (UNSIZED,) if unsized else ())


def data_file(path: Path) -> Path:
    """The file that holds the voxels of a header; the header's own where it cannot be read."""
    try:
        with reading(path, "NRRD or MetaImage"):
            return (_nrrd(path) if path.suffix.lower() in NRRD else _meta(path)).data
    except (CaseError, EnvironmentFault):
        return path


def _start(path: Path) -> bytes:
    with open_file(path, _MOST) as stream:
        return stream.read(_HEADER)


def _nrrd(path: Path) -> _Head:
    try:
        import nrrd
    except ImportError as error:
        raise EnvironmentFault("NRRD is read by an extra: pip install 'salip_exp[nrrd]'") from error
    stream = io.BytesIO(_start(path))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        told: Mapping[str, Any] = nrrd.read_header(stream)
    shape = tuple(int(each) for each in told["sizes"])
    if not 2 <= len(shape) <= 3 or {*told.get("kinds", ())} - {"domain", "space", "???"}:
        raise _no_volume(path, shape)
    code = _known(told["type"], path)
    kind = np.dtype(code if code.endswith("1") else {"little": "<", "big": ">"}[told["endian"]] + code)
    packing = {"raw": "raw", "gzip": "zlib", "gz": "zlib", "bzip2": "bzip2", "bz2": "bzip2"}.get(told["encoding"])
    skip = int(told.get("byte skip", told.get("byteskip", 0)))
    if packing is None or told.get("line skip", told.get("lineskip", 0)) or (skip and packing != "raw") or skip < -1:
        raise CaseError("E_FORMAT", f"{path} is NRRD of {told['encoding']}, or skips lines: write it as raw or gzip.")
    name = told.get("data file", told.get("datafile"))
    begin = 0 if name is not None else stream.tell()
    start = -1 if skip < 0 else begin + skip
    return _Head(_whole(shape, path), kind, _nrrd_affine(told, len(shape), path), _beside(path, name), start, packing)


def _nrrd_affine(told: Mapping[str, Any], axes: int, path: Path) -> NDArray[np.float64] | None:
    directions = told.get("space directions")
    space = str(told.get("space", "LPS" if axes == 2 else None)).lower()  # a picture is in no space of three axes
    units = {str(each).strip('"') for each in told.get("space units", ())}
    if units - {"mm", ""} or (directions is not None and space not in _SPACES):
        said = f"the unit {', '.join(sorted(units))}" if units - {"mm", ""} else f"the space {space}"
        raise CaseError("E_AFFINE", f"{path} lies in {said}, which is not read: write it in LPS or RAS, and mm.")
    if directions is None and space != "none" and axes == 3:
        raise CaseError("E_AFFINE", f"{path} lies in the space {space} and has no directions there: write it again.")
    if directions is None:
        sizes = told.get("spacings")
        return None if sizes is None or not np.isfinite(sizes).all() else _affine(np.diag(sizes), np.zeros(axes))
    affine = _affine(np.asarray(directions, np.float64).T, told.get("space origin", np.zeros(axes)))
    affine[:2] *= np.array(_SPACES[space])[:, None]
    return affine


def _meta(path: Path) -> _Head:
    """MetaImage: pairs of keys and values, a line each, of which ElementDataFile is the last."""
    start, told, at = _start(path), dict[str, str](), 0
    while "ElementDataFile" not in told:
        end = start.index(b"\n", at)
        key, equals, value = start[at:end].decode("utf-8").partition("=")
        if not equals or key.strip() in told:
            raise ValueError(f"a line of its header is no new key with a value: {key[:40]!r}")
        told[key.strip()], at = value.strip(), end + 1
    shape = tuple(int(each) for each in told["DimSize"].split())
    channels = int(told.get("ElementNumberOfChannels", 1))
    if not 2 <= len(shape) <= 3 or len(shape) != int(told["NDims"]) or channels != 1:
        raise _no_volume(path, (*shape, channels))
    _require_plain(told, path)
    big = _yes(told, "BinaryDataByteOrderMSB", "ElementByteOrderMSB")
    kind = np.dtype((">" if big else "<") + _known(told["ElementType"], path))
    name = None if told["ElementDataFile"].upper() == "LOCAL" else told["ElementDataFile"]
    skip = int(told.get("HeaderSize", 0))
    begin = at if name is None else skip
    if skip < -1 or (skip and _yes(told, "CompressedData")):
        raise ValueError(f"HeaderSize is {skip}")
    packing = "zlib" if _yes(told, "CompressedData") else "raw"
    affine = _meta_affine(told, len(shape), path)
    return _Head(_whole(shape, path), kind, affine, _beside(path, name), -1 if skip < 0 else begin, packing)


def _require_plain(told: Mapping[str, str], path: Path) -> None:
    """Raise E_FORMAT for numbers that are text, or mean something else than they say."""
    slope, offset = (
        float(told.get(f"ElementToIntensityFunction{key}", usual)) for key, usual in (("Slope", 1), ("Offset", 0))
    )
    if not _yes(told, "BinaryData") or (slope, offset) != (1, 0):
        raise CaseError(
            "E_FORMAT", f"{path} holds text, or numbers to be rescaled: write its voxels plainly, in binary."
        )


def _meta_affine(told: Mapping[str, str], axes: int, path: Path) -> NDArray[np.float64] | None:
    """The rows of TransformMatrix are the directions of the axes."""
    turn, origin, size = (
        next((_numbers(told[key], count) for key in keys if key in told), None)
        for keys, count in (
            (("TransformMatrix", "Rotation", "Orientation"), axes * axes),
            (("Offset", "Position", "Origin"), axes),
            (("ElementSpacing", "ElementSize"), axes),
        )
    )
    unit = told.get("DistanceUnits", "mm")
    if unit not in _MILLIMETRES:
        raise CaseError("E_AFFINE", f"{path} has the unit {unit}, which is not read: write it in mm.")
    if size is None:
        return None
    directions = (np.eye(axes) if turn is None else turn.reshape(axes, axes)) * size[:, None]
    return _affine(
        directions.T * _MILLIMETRES[unit], (np.zeros(axes) if origin is None else origin) * _MILLIMETRES[unit]
    )


def _numbers(text: str, count: int) -> NDArray[np.float64]:
    found = np.array([float(each) for each in text.split()])
    if len(found) != count:
        raise ValueError(f"{count} numbers are wanted, and {text[:40]!r} are there")
    return found


def _yes(told: Mapping[str, str], *keys: str) -> bool:
    """Whether a header says so by any of some keys, which must not say two things."""
    said = {_WORDS.get(told[key].lower()) for key in keys if key in told}
    if len(said) > 1 or None in said:
        raise ValueError(f"{' and '.join(keys)}: neither True nor False")
    return True in said


def _affine(directions: NDArray[np.float64], origin: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Of two or three axes, as columns, left, posterior and superior."""
    whole, place = np.eye(3), np.zeros(3)
    whole[: directions.shape[0], : directions.shape[1]] = directions
    place[: len(origin)] = origin
    return from_lps([*whole.T, place])


def _known(name: str, path: Path) -> str:
    if name not in _KINDS:
        raise CaseError("E_DIMS", f"{path} holds {name}: give whole or real numbers of 8 to 64 bits.")
    return _KINDS[name]


def _whole(shape: tuple[int, ...], path: Path) -> tuple[int, ...]:
    if min(shape) < 1:
        raise _no_volume(path, shape)
    return (*shape, 1)[:3]


def _no_volume(path: Path, shape: Sequence[int]) -> CaseError:
    dimensions = " x ".join(map(str, shape))
    return CaseError("E_DIMS", f"{path} is {dimensions} numbers: give one 3-D volume of plain numbers.")


def _beside(path: Path, name: Any) -> Path:
    """The file of the voxels: a name of one beside the header, None for the header's own."""
    if name is None:
        return path
    if Path(str(name)).name != name or "%" in name or name.upper().startswith("LIST"):
        raise CaseError("E_PATH", f"{path} names its voxels {name!r}: one file beside it, or in it, is read.")
    return path.with_name(name)


def _voxels(head: _Head, path: Path) -> NDArray[Any]:
    """All numbers of a file, which must be as many as its header promises; what is packed is proven by its checksum."""
    wanted = math.prod(head.shape) * head.kind.itemsize
    with open_file(head.data, _MOST) as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - wanted) if head.start < 0 else head.start)
        if head.packing == "raw":
            content, ended, more = stream.read(wanted), True, stream.read(1)
        else:
            unpack: Any = zlib.decompressobj(47) if head.packing == "zlib" else bz2.BZ2Decompressor()
            content = unpack.decompress(stream.read(), wanted + 1)
            ended, more = unpack.eof, unpack.unused_data
    if len(content) < wanted or not ended:
        raise ValueError(f"it is cut short: {len(content)} of {wanted} bytes")
    if len(content) > wanted or more:
        raise CaseError("E_DIMS", f"{path} holds more than the voxels of its header: mend that.")
    return np.frombuffer(content, head.kind).reshape(head.shape, order="F")
