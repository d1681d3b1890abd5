"""What lies below a data root and no case is made of, and why: the one account of it, in words, that everyone tells."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salip_exp._wording import many, some
from salip_exp.config import Volume
from salip_exp.data.paths import has_dicom_mark, natural

NAMED = 20
"""Names that are kept of each kind."""
LISTED = 1000
"""Images that are listed with the reason why they are left out; more are counted."""


@dataclass(frozen=True)
class LeftOut:
    """One reason why something is not run on, or not as it lies there.

    Attributes:
        kind: of the reason, one word, for programs.
        n: how many there are.
        what: beginning of the sentence on it, with the number.
        why: the end of it, with what to do.
        names: of all of them, where they have any.
        listed: whether the first few of them come between beginning and end.
    """

    kind: str
    n: int
    what: str
    why: str = ""
    names: tuple[str, ...] = ()
    listed: bool = True

    @property
    def said(self) -> str:
        """All of it in a sentence, with the first few names."""
        named = f" ({some(self.names)})" if self.names and self.listed else ""
        return f"{self.what}{named}{self.why}"

    @property
    def counted(self) -> str:
        """The sentence without names."""
        return f"{self.what}{self.why}"

    def to_dict(self) -> dict[str, Any]:
        """As manifests keep it, with the first NAMED names."""
        return {"kind": self.kind, "n": self.n, "said": self.said, "names": list(self.names[:NAMED])}


def left_out(kind: str, names: Sequence[str], what: str, why: str) -> LeftOut:
    """The account of some things by name; `what` they are (as in `many`) is said before the names, `why` after them."""
    return LeftOut(kind, len(names), many(len(names), what), why, tuple(names))


UNSCORED, VANISHED, REGIONS = "unscored", "vanished", "regions"
"""Kinds that every summary has a note of its own on: images without a target, targets gone at working size, and those
of which regions are gone.
"""
LOST_REGIONS = "regions of the target vanish at working size"
"""The note of a case whose target has fewer regions than its file."""


def told_of(kept: Sequence[Mapping[str, Any]]) -> list[str]:
    """What a manifest's `left_out` says, but for what the summary beside it says already."""
    return [str(each["said"]) for each in kept if each["kind"] not in (UNSCORED, VANISHED, REGIONS)]


def vanished_targets(names: Sequence[str]) -> LeftOut:
    """Cases that failed with E_VANISHED."""
    why = ": such a case fails and is in no mean; a larger dataset.resize.side or dataset.resize.mode=native keeps it"
    return left_out(VANISHED, names, "[target vanishes|targets vanish] at working size", why)


def shrunk_targets(names: Sequence[str]) -> LeftOut:
    """Cases with LOST_REGIONS."""
    why = ": they are scored without them; a larger dataset.resize.side or dataset.resize.mode=native keeps them"
    return left_out(REGIONS, names, "[target loses|targets lose] regions at working size", why)


def listed(excluded: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The first LISTED images that are left out, each with its reason, and how many more there are."""
    first = [{"case_id": name, "reason": reason} for name, reason in excluded[:LISTED]]
    return {"n_excluded": len(excluded), "excluded": first, "excluded_more": len(excluded) - len(first)}


def by_reason(excluded: Iterable[tuple[str, str]]) -> list[LeftOut]:
    """The images that cannot be cases, or may not be, by reason; reasons with a code (`E_PATH: ...`) by their code."""
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for name, reason in excluded:
        groups[reason.partition(":")[0] if reason.startswith("E_") else reason].append((name, reason))
    return [_of_reason([name for name, _ in each], each[0][1]) for each in groups.values()]


def _of_reason(names: Sequence[str], reason: str) -> LeftOut:
    kind = "refused" if reason.startswith("E_") else "excluded"
    if len(names) == 1:
        return LeftOut(kind, 1, f"{names[0]} is left out", f": {reason}", tuple(names), listed=False)
    return left_out(kind, names, "[image is|images are] left out", f": {reason}")


@dataclass(frozen=True)
class Taken:
    """The slices that are taken of a volume, and what became of the others.

    Attributes:
        numbers: of the slices that are taken, along the axis.
        slices: of the volume.
        empty: slices without target, where those are left out.
        trimmed: slices near the ends of the target's extent.
        passed: slices that `per_volume` passes over.
    """

    numbers: tuple[int, ...]
    slices: int
    empty: int = 0
    trimmed: int = 0
    passed: int = 0

    def why_none(self, config: Volume) -> str:
        """Why no slice is left, for a volume of which none is."""
        if self.empty == self.slices:
            return "no slice is left: its target is empty"
        if config.trim_slices:
            return (
                f"no slice is left: dataset.volume.trim_slices={config.trim_slices} leaves out that many at each end "
                "of its extent, and it has no more; dataset.volume.trim_slices=0 takes all of it"
            )
        return (
            f"no slice is left: dataset.volume.trim_mm={config.trim_mm:g} leaves out that many millimetres at each end "
            "of its extent, and it is no longer than that; dataset.volume.trim_mm=0 takes all of it"
        )


def of_slices(volumes: Sequence[tuple[str, Taken]], config: Volume) -> list[LeftOut]:
    """The volumes of which a part is taken, as one account."""
    parts = [(name, each) for name, each in volumes if 0 < len(each.numbers) < each.slices]
    if not parts:
        return []
    taken, slices = (sum(found) for found in zip(*((len(t.numbers), t.slices) for _, t in parts), strict=True))
    counts = (
        (sum(each.empty for _, each in parts), "without target (dataset.volume.skip_empty)"),
        (sum(each.trimmed for _, each in parts), f"at its ends ({_trimmed_by(config)})"),
        (sum(each.passed for _, each in parts), f"between others (dataset.volume.per_volume={config.per_volume})"),
    )
    whys = ", ".join(f"{n} {why}" for n, why in counts if n)
    names = [f"{name} {len(each.numbers)} of {each.slices}" for name, each in parts]
    what = f"{taken} of {slices} slices of {many(len(parts), 'volume')} are run on"
    return [LeftOut("slices", slices - taken, what, f"; left out are {whys}", tuple(names))]


def _trimmed_by(config: Volume) -> str:
    """The settings that leave out slices at the ends."""
    keys = {"trim_mm": config.trim_mm, "trim_slices": config.trim_slices}
    return " ".join(f"dataset.volume.{key}={value:g}" for key, value in keys.items() if value)


_PILLOW, _ITK = "Pillow or ImageMagick saves them as PNG", "SimpleITK or nibabel saves them as .nii.gz"
_EVERYWHERE = {
    "DICOM [file|files]": (
        "dataset=folder reads those with pictures, after pip install 'salip_exp[dicom]'; dcm2niix makes NIfTI of them",
        ".dcm .dicom .ima .dic",
    ),
    "WebP [picture|pictures]": (_PILLOW, ".webp"),
    "GIF [picture|pictures]": (_PILLOW, ".gif"),
    "[picture of another kind|pictures of other kinds]": (
        _PILLOW,
        ".heic .heif .avif .jp2 .j2k .jpx .jpf .jxl .jfif .ppm .pgm .pbm .pnm .tga .ico .svg .psd .eps .dib .pcx .exr",
    ),
    "NRRD and MetaImage [volume|volumes]": (
        f"dataset=folder reads them, NRRD with pip install 'salip_exp[nrrd]', and {_ITK}",
        ".mha .mhd .nrrd .nhdr",
    ),
    "[volume of another kind|volumes of other kinds]": (
        _ITK,
        ".mgz .mgh .mnc .gipl .gipl.gz .img.gz .nia .vti",
    ),
    "scanned [slide|slides]": (
        "OpenSlide or Bio-Formats exports them as TIFF",
        ".svs .ndpi .mrxs .scn .czi .lif .nd2 .vsi .oib .oif .bif .lsm .qptiff",
    ),
}
"""Kinds that hold images and nothing else: what they are, what makes files of them that are read, their endings."""
_BESIDE_IMAGES = {
    "[array|arrays]": (
        "Pillow saves pictures as PNG, and nibabel volumes as .nii.gz, which needs their affine",
        ".npy .npz .mat .h5 .hdf5 .zarr .pkl .pt .pth .tfrecord",
    ),
    "[volume of another kind|volumes of other kinds]": (_ITK, ".hdr .img .par .rec .vtk .raw .bin"),
    "[video|videos]": ("ffmpeg writes their frames as PNG", ".avi .mp4 .mov .mkv .wmv .mpg .mpeg .webm .m4v"),
    "[archive|archives]": ("unpack them", ".zip .tar .tgz .gz .bz2 .xz .zst .7z .rar"),
}
"""Kinds that may hold anything: they count where images lie."""
_NO_IMAGES = re.compile(
    r"\.(txt|md|rst|csv|tsv|jsonl?|ya?ml|xml|html?|css|js|pdf|xlsx?|ods|docx?|log|pyc?|ipynb|sh|bat|m|r|ini|cfg|toml|db|lnk"
    r"|url|sha1|sha256|md5|bval|bvec|lock)"
)
_TEXTS = re.compile("readme|licen[cs]e|change(s|log)|authors|citation|copying|makefile|notice")
"""Names of files without an ending that are no images."""

_Kind = tuple[str, str, str]
"""Kind, what they are, and why they are left out, as `left_out` takes them."""


def _kinds(table: Mapping[str, tuple[str, str]]) -> dict[str, _Kind]:
    rows = ((what, how, ending) for what, (how, endings) in table.items() for ending in endings.split())
    return {ending: ("unread", f"{what} [is|are] not read", f": {how}") for what, how, ending in rows}


_SURE, _LIKELY = _kinds(_EVERYWHERE), _kinds(_BESIDE_IMAGES)
_DOUBLE = (".nii.gz", *(each for each in _SURE if each.count(".") > 1))


_HIDDEN = "hidden", "hidden [file or folder is|files and folders are] not read", ": names of data begin without a dot"
_UNMATCHED = "unmatched", "[file is|files are] not read", ": neither image nor mask by place and name"


def unread(root: Path, used: Iterable[Path], readable: Iterable[str], follow_links: bool) -> list[LeftOut]:
    """Files below a root that no case is made of though they look as if one should be, by kind.

    Kinds that hold images count wherever they lie. What is hidden, may hold anything, is of no known kind, or is of a
    kind that is read and yet was not looked for, counts where images and masks lie, or everywhere where there are none.

    Args:
        used: what the reader found, and whatever else it accounts for.
        readable: endings of the kinds that are read, lower case.
        follow_links: whether folders are entered that links lead to.
    """
    start = "" if root == Path() else f"{str(root).rstrip(os.sep)}{os.sep}"
    known = {str(path).removeprefix(start) for path in used}
    homes, endings = {_home(name) for name in known}, frozenset(readable)
    found: dict[_Kind, list[str]] = defaultdict(list)
    for name, entry in _below(root, follow_links):
        kind = None if name in known else _kind_of(entry, endings, not known or _home(name) in homes)
        if kind is not None:
            found[kind].append(name)
    return [left_out(kind, sorted(names, key=natural), what, why) for (kind, what, why), names in sorted(found.items())]


def _home(name: str) -> str:
    """The first folder on the way to a file below the root; empty where it lies in the root itself."""
    first, inside, _ = name.partition(os.sep)
    return first if inside else ""


def _below(root: Path, follow_links: bool) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files below a folder, by name from there; also hidden folders, and those that are one thing, such as `x.zarr`.

    A folder that cannot be listed is passed over: who looks for images in it says so.
    """
    waiting, entered = [""], {os.path.realpath(root)}
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(root / place) as entries:
                found = list(entries)
        except OSError:
            continue
        for entry in found:
            name = f"{place}{os.sep}{entry.name}" if place else entry.name
            if not _is_folder(entry) or entry.name.startswith(".") or _ending(entry.name) in _LIKELY:
                yield name, entry
            elif not entry.is_symlink():
                waiting.append(name)
            elif follow_links and (real := os.path.realpath(entry.path)) not in entered:
                entered.add(real)
                waiting.append(name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def _ending(name: str) -> str:
    """In lower case: `.nii.gz` of `a.nii.gz`, `.png` of `a.b.png`, nothing of a name without."""
    parts = name.lower().lstrip(".").split(".")
    double = "." + ".".join(parts[-2:])
    if len(parts) > 2 and double in _DOUBLE:
        return double
    return f".{parts[-1]}" if len(parts) > 1 else ""


def _kind_of(entry: os.DirEntry[str], readable: Collection[str], home: bool) -> _Kind | None:
    """What a file that no case is made of is told as; None for what is no image.

    Args:
        home: whether images or masks lie around it.
    """
    ending = _ending(entry.name)
    if entry.name.startswith("."):
        return _HIDDEN if home and (_is_folder(entry) or ending in readable or ending in _SURE) else None
    if ending in _SURE:
        return _SURE[ending]
    if (not ending or ending[1:].isdigit()) and not entry.is_symlink() and has_dicom_mark(entry.path):
        return _SURE[".dcm"]
    if not home or _NO_IMAGES.fullmatch(ending) or _TEXTS.fullmatch(entry.name.lower()):
        return None
    if ending in readable:
        return _UNMATCHED
    what = f"{ending} [file|files]" if ending else "[file|files] without an ending"
    return _LIKELY.get(
        ending, ("unread", f"{what} [is|are] not read", ": pictures are PNG, JPEG, TIFF or BMP, volumes NIfTI")
    )
