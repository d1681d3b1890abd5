"""The user's own images: any folder, any organ, with or without masks."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from salip_exp.config import DatasetConfig, Layout
from salip_exp.data import _dicom as dicom
from salip_exp.data import _itk as itk
from salip_exp.data import _npz as npz
from salip_exp.data._left_out import LeftOut, left_out
from salip_exp.data.case import Case, CaseRef, failing
from salip_exp.data.datasets import Listing, Reader, gather
from salip_exp.data.loading import picture_ref, slice_refs
from salip_exp.data.paths import PICTURES, VOLUMES, by_name, composed, files_below, require_folder, stem
from salip_exp.data.readers._coco import coco_ref, from_coco
from salip_exp.data.readers._layouts import label_names, placed
from salip_exp.data.readers._patterns import Paired, Pattern, pair, relative
from salip_exp.data.readers._proposals import Proposal, likely_masks, propose, propose_alone, unpaired
from salip_exp.data.readers._table import from_table
from salip_exp.data.volumes import is_volume
from salip_exp.errors import CaseError, ConfigError, DataError

_LAYOUT = (
    "dataset=folder wants images/ and, where there are masks, masks/ below dataset.root, "
    "or dataset.files.images and dataset.files.masks that say where they lie, such as 'scans/{id}.png' and "
    "'labels/{id}_seg.png'."
)


def _read_folder(root: Path, config: DatasetConfig) -> Listing:
    """Pictures and volumes, with their masks: by a table, by patterns or by globs.

    Raises:
        ConfigError: a glob or a pattern leads out of the root, or names what it cannot.
        DataError: two files have one name, or there are masks and none has the name of an image.
    """
    if os.path.isfile(root):  # noqa: PTH113  (Path.is_file raises for names that are too long)
        parent, own = shlex.quote(str(root.parent)), shlex.quote(root.name)
        raise DataError(
            f"{root} is a file: dataset.root={parent} dataset.files.images={own} dataset.files.masks=null reads it."
        )
    require_folder(root, _LAYOUT)
    files = placed(root, config.files)
    config = replace(config, files=files)
    if files.layout is Layout.coco:
        found = from_coco(root, config)
    elif files.table is not None:
        found = from_table(Path(files.table).expanduser(), root)
        found = replace(found, others=_slices(_whole(list(found.images.values()), config)[0]))
    elif "{" in files.images or "{" in (files.masks or ""):
        found = _by_patterns(root, config)
    else:
        found = _by_globs(root, config)
    refs = partial(_refs, root, found.parts, config)
    listing = gather(found.images, found.masks, root, config, refs, found.others)
    if found.passed:
        names, why = [relative(path, root) for path in found.passed], f": dataset.files.series={files.series}"
        passed = left_out("series", names, "DICOM [series is|series are] left out", why)
        listing = replace(listing, beside=[*listing.beside, passed])
    asked = files.masks is not None and files.table is None and not found.both
    proposal = _proposal(root, config, alone=not found.images) if asked else None
    if proposal is None:
        return listing
    if not found.images:
        raise DataError(
            f"{root} holds no images at dataset.files.images={files.images}, but elsewhere: {proposal.said}."
        )
    said = f"no mask is found at dataset.files.masks={files.masks}: {proposal.said}"
    return replace(listing, beside=[*listing.beside, LeftOut("unpaired", proposal.pairs, said)])


def _proposal(root: Path, config: DatasetConfig, alone: bool) -> Proposal | None:
    """The settings that would pair what lies anywhere below the root.

    Args:
        alone: whether to propose what takes files that hold images and masks, or images that have none.
    """
    there = list(_whole(files_below(root, "**/*", _endings(""), config.files.follow_links), config)[0])
    masks = likely_masks(root, there)
    known = set(masks)
    found = propose(root, [path for path in there if path not in known], masks) if masks else None
    if found is not None or not alone:
        return found
    return _of_one_file(root, config) or (propose_alone(root, there) if there and not masks else None)


def _of_one_file(root: Path, config: DatasetConfig) -> Proposal | None:
    """The layout of archives that hold images and masks, or of a COCO file."""
    archives = len(files_below(root, "**/*", (npz.ENDING,), config.files.follow_links))
    if archives:
        return Proposal(f"dataset.files.layout={Layout.medsam_npz}", archives)
    try:
        return Proposal(f"dataset.files.layout={Layout.coco}", from_coco(root, config).both)
    except DataError:  # there is none, or it names what is not there
        return None


def _by_patterns(root: Path, config: DatasetConfig) -> Paired:
    """What two patterns pair; where they are one, a file holds image and mask."""
    files = config.files
    images = _pattern("images", files.images)
    masks = None if files.masks is None else _pattern("masks", files.masks)
    marks = [] if masks is None else _files(root, masks.glob, "masks", config)
    known = {path for path in marks if masks and masks != images and masks.read(relative(path, root)) is not None}
    pictures = [path for path in _files(root, images.glob, "images", config) if path not in known]
    whole, passed = _whole(pictures, config)
    try:
        found = pair(root, images, masks, list(whole), marks)
    except DataError as error:
        raise DataError(f"{error}{_choice(whole)}") from error
    found = replace(found, others=_slices({**whole, **passed}), passed=list(passed))
    if found.images and found.masks and not found.both:
        raise DataError(unpaired(root, found.images, found.masks))
    return found


def _pattern(key: str, text: str) -> Pattern:
    pattern = Pattern(text)
    if wrong := pattern.unknown():
        raise ConfigError(
            f"dataset.files.{key}={text} names {{{wrong}}}: a pattern knows {{id}}, {{subject}}, {{group}}."
        )
    if not pattern.named:
        raise ConfigError(f"dataset.files.{key}={text} needs {{id}}, as the other pattern has: {{id}} pairs the two.")
    return pattern


def _by_globs(root: Path, config: DatasetConfig) -> Paired:
    """What globs pair.

    A mask belongs to the image of the same name, less `mask_suffix`, in the same sub-folder below each glob's fixed
    part. Ids are paths without endings, so that equal names in two sub-folders stay apart. Where one glob stands for
    both, masks are what has the suffix.
    """
    files = config.files
    marks = [] if files.masks is None else _files(root, files.masks, "masks", config)
    if files.masks == files.images:
        marks = [path for path in marks if stem(path).endswith(composed(files.mask_suffix))]
    known = set(marks)
    pictures = [path for path in _files(root, files.images, "images", config) if path not in known]
    masks = by_name(marks, lambda path: _name(path, root, files.masks or "").removesuffix(composed(files.mask_suffix)))
    whole, passed = _whole(pictures, config)
    folders = Counter(path.parent for path in whole)

    def name(path: Path) -> str:
        """As of a picture; a series is called as its folder, if that has nothing else."""
        own, series = PurePosixPath(_name(path, root, files.images)), whole[path]
        if series is None:
            return own.as_posix()
        alone = folders[path.parent] == 1 and len(own.parts) > 1
        return (own.parent if alone else own.parent / f"series-{series}").as_posix()

    images = by_name(whole, name)
    if images and masks and not masks.keys() & images.keys():
        said = unpaired(root, images, masks, [_name(path, root, files.masks or "") for path in marks])
        raise DataError(f"{said}{_choice(whole)}")
    return Paired(images, masks, {}, _slices({**whole, **passed}), list(passed))


def _files(root: Path, pattern: str, key: str, config: DatasetConfig) -> list[Path]:
    parts = PurePosixPath(pattern).parts
    if not parts or ".." in parts or "/" in parts:
        raise ConfigError(
            f"dataset.files.{key}={pattern!r} must be a glob below dataset.root, such as '{key}/**/*.png'."
        )
    return files_below(root, pattern, _endings(pattern), config.files.follow_links)


def _endings(pattern: str) -> tuple[str, ...]:
    """Endings of what is read: extras where they are installed, archives where a pattern asks for them."""
    found = (*PICTURES, *VOLUMES, *itk.META, *((npz.ENDING,) if pattern.endswith(npz.ENDING) else ()))
    extras = (("pydicom", dicom.ENDINGS), ("nrrd", itk.NRRD))
    return (*found, *(ending for package, endings in extras if find_spec(package) for ending in endings))


_Whole = dict[Path, str | None]
"""Files that stand for an image, and the series of those that stand for one of many files."""


def _whole(paths: Sequence[Path], config: DatasetConfig) -> tuple[_Whole, _Whole]:
    """The files that stand for an image, and those that `dataset.files.series` passes over.

    DICOM without a picture is left for the account of what is not read.
    """
    slices = [path for path in paths if path.suffix.lower() not in (*PICTURES, *VOLUMES) and dicom.is_dicom(path)]
    series, apart = dicom.leaders(slices), set(slices)
    wanted = config.files.series
    chosen = set(series) if wanted is None else set(dicom.of_series(series, wanted))
    whole = {path: series.get(path) for path in paths if path not in apart or path in chosen}
    return whole, {path: each for path, each in series.items() if path not in chosen}


def _choice(whole: _Whole) -> str:
    """What to say of folders that hold several series; nothing where none does."""
    folders: dict[Path, list[Path]] = {}
    for path, series in whole.items():
        if series is not None:
            folders.setdefault(path.parent, []).append(path)
    several = next((each for each in folders.items() if len(each[1]) > 1), None)
    if several is None:
        return ""
    return (
        f" {several[0]} holds the DICOM series {dicom.listed(several[1])}: choose one of each folder by its number, "
        f"dataset.files.series=N, or that of most slices by dataset.files.series={dicom.MOST}."
    )


def _slices(whole: Mapping[Path, str | None]) -> list[Path]:
    """The files that belong to series, and those that hold the voxels of a header."""
    slices = [each for path, series in whole.items() if series is not None for each in dicom.stack_of(path)]
    return [*slices, *(itk.data_file(path) for path in whole if path.suffix.lower() in itk.ENDINGS)]


def _name(path: Path, root: Path, pattern: str) -> str:
    """Path below the fixed part of a glob, without ending: `images/**/*` and `images/a/1.png` give `a/1`."""
    folders = PurePosixPath(pattern).parts[:-1]
    fixed = next((place for place, part in enumerate(folders) if any(sign in part for sign in "*?[")), len(folders))
    return PurePosixPath(*path.relative_to(root).parts[fixed:-1], stem(path)).as_posix()


def _refs(
    root: Path,
    parts: Mapping[str, Mapping[str, str]],
    config: DatasetConfig,
    name: str,
    image: Path,
    mask: Path | None,
) -> Sequence[CaseRef]:
    """The cases of an image, of the group and the subject that its pattern or table names."""
    told = parts.get(name, {})
    if config.files.layout is Layout.coco and mask is not None:
        return [coco_ref(name, image, mask, told["name"], config)]
    refs = _read(name, image, mask, config)
    if mask is not None and config.files.label is None:
        for place, ref in enumerate(refs):
            refs[place] = replace(ref, load=partial(_naming, ref.load, root))
    group, subject = told.get("group"), told.get("subject")
    if group or subject:
        for place, ref in enumerate(refs):
            who = group or ref.group, subject or ref.subject
            refs[place] = replace(ref, group=who[0], subject=who[1], load=partial(_told, ref.load, *who))
    return refs


def _naming(load: Callable[[], Case], root: Path) -> Case:
    """Load a case; an error on labels of which none is chosen says what `dataset.json` calls them."""
    try:
        return load()
    except CaseError as error:
        names = _names(root) if error.code == "E_LABELS" else {}
        if not names:
            raise
        named = ", ".join(f"{number} {name}" for number, name in names.items())
        each = f"dataset.files.labels=[{','.join(names.values())}] is a run of each"
        raise CaseError(error.code, f"{error} dataset.json calls them {named}; {each}.") from error


def _names(root: Path) -> dict[int, str]:
    try:
        return {number: name for number, name in sorted(label_names(root).items()) if number}
    except DataError:  # nobody asked for it
        return {}


def _told(load: Callable[[], Case], group: str, subject: str) -> Case:
    return replace(load(), group=group, subject=subject)


def _read(name: str, image: Path, mask: Path | None, config: DatasetConfig) -> list[CaseRef]:
    try:
        stack = is_volume(image)
        if mask is not None and is_volume(mask) != stack:
            raise CaseError("E_SHAPE", f"{image} and its mask {mask} must both be pictures or both be volumes.")
    except CaseError as error:
        return [CaseRef(name, config.group, name, failing(error))]
    if stack:
        return slice_refs(name, config.group, image, mask, config)
    return [picture_ref(name, image, mask, config)]


READER = Reader(_read_folder, _LAYOUT, paired=True)
