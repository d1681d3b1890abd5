"""Data sets: opened by layout, read natively, phantoms made first; and the cases that a run takes of what was found."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path

import numpy as np

from salip_exp._files import read_small
from salip_exp._wording import many, some
from salip_exp.config import DatasetConfig, MissingMasks
from salip_exp.data._left_out import UNSCORED, LeftOut, Taken, left_out, of_slices, unread
from salip_exp.data._phantoms.store import phantom_root
from salip_exp.data.case import Case, CaseRef, Dataset, SliceRefs
from salip_exp.data.paths import PICTURES, VOLUMES, composed, natural, safe
from salip_exp.data.stress import Stress, stress_of
from salip_exp.errors import CaseError, ConfigError, DataError
from salip_exp.plugins import Catalogue


@dataclass(frozen=True)
class Listing:
    """What a reader found.

    Attributes:
        refs: cases with everything they need.
        unmasked: cases without a mask.
        excluded: (id, reason) of images that cannot be cases.
        beside: what else lies there and is not run on.
        unopened: images that were not looked into, since the first `limit` cases were there.
    """

    refs: Sequence[CaseRef]
    unmasked: Sequence[CaseRef] = ()
    excluded: Sequence[tuple[str, str]] = ()
    beside: Sequence[LeftOut] = ()
    unopened: int = 0


_NO_SLICE = "no slice is left: its target is empty, or smaller than dataset.volume.trim_mm"
"""Why a volume is left out of which a reader of its own says no more."""


def gather(
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    root: Path,
    config: DatasetConfig,
    refs_of: Callable[[str, Path, Path | None], Sequence[CaseRef]],
    others: Collection[Path] = (),
) -> Listing:
    """The cases of images with the masks of the same name; files that links lead to outside the root are excluded.

    What else lies below the root is looked through, so that the run can tell what it does not read. Where only the
    first `limit` cases are wanted, it stops when they are there: volumes are slow to look into.

    Args:
        refs_of: the cases of a name, an image and its mask or None: one of a picture, the slices of a volume.
        others: files that the reader accounts for itself.
    """
    names, found, links = sorted(images, key=natural), _Found(config), config.files.follow_links
    real = root.resolve()
    for name in names:
        if _enough(config, found.refs):
            break
        image, mask = images[name], masks.get(name)
        try:
            for path in (image,) if mask is None else (image, mask):
                safe(path, root, links, real)
        except CaseError as error:
            found.refuse(name, f"{error.code}: {error}")
        else:
            found.add(name, refs_of(name, image, mask), mask is not None)
    orphans = [name for name in masks if name not in images]
    beside = (
        [left_out("orphans", orphans, "[mask has no image of its|masks have no image of their] name", "")]
        if orphans
        else []
    )
    beside += unread(root, {*images.values(), *masks.values(), *others}, (*PICTURES, *VOLUMES), links)
    beside += of_slices(found.parts, config.volume)
    return Listing(found.refs, found.unmasked, found.excluded, beside, len(names) - found.opened)


@dataclass
class _Found:
    """What has been made of images so far; attributes as of a `Listing`.

    Attributes:
        parts: what is taken of each volume.
        opened: how many images there were.
    """

    config: DatasetConfig
    refs: list[CaseRef] = field(default_factory=list)
    unmasked: list[CaseRef] = field(default_factory=list)
    excluded: list[tuple[str, str]] = field(default_factory=list)
    parts: list[tuple[str, Taken]] = field(default_factory=list)
    opened: int = 0

    def refuse(self, name: str, reason: str) -> None:
        """An image that cannot be a case."""
        self.opened += 1
        self.excluded.append((name, reason))

    def add(self, name: str, cases: Sequence[CaseRef], masked: bool) -> None:
        """The cases of an image."""
        taken = cases.taken if isinstance(cases, SliceRefs) else None
        if taken is not None:
            self.parts.append((name, taken))
        if not cases:
            self.refuse(name, _NO_SLICE if taken is None else taken.why_none(self.config.volume))
            return
        self.opened += 1
        (self.refs if masked else self.unmasked).extend(cases)


def _enough(config: DatasetConfig, refs: Sequence[CaseRef]) -> bool:
    """Whether the first `limit` cases are there, and more would mean to open volumes."""
    picks = config.subset is not None or config.sample is not None or config.missing_masks is MissingMasks.error
    if picks or config.limit is None or len(refs) < config.limit:
        return False
    return refs[-1].volume is not None


def choose(listing: Listing, config: DatasetConfig, seed: int) -> Dataset:
    """The data set that a run works on, in the natural order of ids.

    Raises:
        DataError: masks are missing under missing_masks=error, or an id of the subset is unknown.
    """
    refs, excluded, beside = list(listing.refs), list(listing.excluded), list(listing.beside)
    count = len(refs) + len(listing.unmasked) + len(excluded)
    without = list(dict.fromkeys(ref.volume or ref.case_id for ref in listing.unmasked))
    if config.missing_masks is MissingMasks.predict:
        refs += listing.unmasked
        beside += (
            [left_out(UNSCORED, without, "[image has|images have] no mask", ": predicted, not scored")]
            if without and not config.absent
            else []
        )
    elif config.missing_masks is MissingMasks.exclude:
        excluded += [(name, "no mask") for name in without]
    elif without:
        raise DataError(
            f"{config.name}: {many(len(without), '[image has|images have] no mask')} ({some(without)}): add the masks, "
            "or leave the images out with dataset.missing_masks=exclude."
        )
    refs.sort(key=lambda ref: natural(ref.case_id))
    candidates = len(refs)
    if config.subset is not None:
        refs = _subset(refs, dict(excluded), Path(config.subset).expanduser())
    if config.sample is not None and config.sample < len(refs):
        picked = np.random.default_rng(seed).choice(len(refs), config.sample, replace=False)
        refs = [refs[i] for i in sorted(picked)]
    chosen = refs[: config.limit]
    return Dataset(config.name, chosen, excluded, count, beside + _passed(listing, config, len(chosen), candidates))


def _passed(listing: Listing, config: DatasetConfig, chosen: int, candidates: int) -> list[LeftOut]:
    """The cases that subset, sample and limit pass over, and images that were not looked into for the limit's sake."""
    keys = {"subset": config.subset, "sample": config.sample, "limit": config.limit}
    said = " ".join(f"dataset.{key}={value}" for key, value in keys.items() if value is not None)
    more = f", and {many(listing.unopened, 'more [image is|images are] not looked into')}" if listing.unopened else ""
    passed = candidates - chosen
    if not passed and not more:
        return []
    return [
        LeftOut(
            "choice",
            passed + listing.unopened,
            f"{chosen} of {many(candidates, '[case is|cases are]')} run on ({said}){more}",
        )
    ]


def without_cases(
    dataset: Dataset, ids: Collection[str], what: str, reason: str, subset: str | None, remedy: str = ""
) -> Dataset:
    """The data set without some of its cases, each among the excluded; ids of no case are no matter.

    Args:
        ids: of the cases to leave out.
        what: they are, for errors.
        reason: of their exclusion.
        subset: file that the cases were chosen by, if one was.
        remedy: what else can be done about a file that asks for them.

    Raises:
        ConfigError: that file asks for some of them.
        DataError: nothing is left.
    """
    used = [ref.case_id for ref in dataset.refs if ref.case_id in ids]
    if used and subset is not None:
        raise ConfigError(
            f"dataset.subset={subset} holds {len(used)} {what} ({', '.join(used[:5])}): take them out of it{remedy}"
        )
    refs = [ref for ref in dataset.refs if ref.case_id not in ids]
    if not refs:
        raise DataError(f"{dataset.name}: none is left to score beside {len(used)} {what}: give more{remedy}")
    return replace(dataset, refs=refs, excluded=[*dataset.excluded, *((each, reason) for each in used)])


def _subset(refs: Sequence[CaseRef], excluded: Mapping[str, str], path: Path) -> list[CaseRef]:
    try:
        lines = read_small(path).decode("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise DataError(f"dataset.subset={path} cannot be read ({error}): give a text file, an id a line.") from error
    wanted = {composed(line.strip()) for line in lines if line.strip() and not line.startswith("#")}
    if not wanted:
        raise DataError(f"dataset.subset={path} holds no ids: write one a line.")
    known = [ref.case_id for ref in refs]
    for each in sorted(wanted - set(known), key=natural):
        if each in excluded:
            raise DataError(f"dataset.subset={path}: {each!r} cannot be used: {excluded[each]}.")
        near = get_close_matches(each, known, 1, cutoff=0)
        hint = f"; the nearest is {near[0]!r}" if near else ""
        raise DataError(f"dataset.subset={path}: there is no case {each!r}{hint}.")
    return [ref for ref in refs if ref.case_id in wanted]


@dataclass(frozen=True)
class Reader:
    """What finds the cases of a layout; an installed package gives one under the entry point `salip_exp.datasets`.

    Attributes:
        read: finds what is below a root; raises DataError where that cannot be used.
        layout: one sentence on what must lie below the root.
        paired: an image may hold a pair of organs, of which `dataset.side` takes one.
    """

    read: Callable[[Path, DatasetConfig], Listing]
    layout: str
    paired: bool = False


READERS = Catalogue(
    "datasets",
    Reader,
    {name: f"salip_exp.data.readers.{name}:READER" for name in ("cc359", "hc18", "xray", "folder")},
)


def open_dataset(config: DatasetConfig, seed: int, stress: str | None = None) -> Dataset:
    """The configured data set; no image is decoded before its case is loaded.

    Args:
        config: of it.
        seed: of what is drawn: cases, and what stress does to them.
        stress: every image is made worse so (`stress_of`).

    Raises:
        DataError: no root, no images, or a choice that cannot be met.
    """
    reader = READERS[config.layout]
    if config.root is None and config.phantom is not None:
        root = phantom_root(config.layout, config.phantom)
    elif config.root is None:
        raise DataError(
            f"dataset={config.name} needs dataset.root=DIR, or the environment variable SALIP_DATA with a folder "
            f"{config.name}/ in it. {reader.layout}"
        )
    else:
        root = Path(os.path.expanduser(config.root))  # noqa: PTH111  (Path.expanduser raises for unknown users)
    listing = reader.read(root, config)
    there = f" Found there: {'; '.join(each.said for each in listing.beside)}." if listing.beside else ""
    if not (listing.refs or listing.unmasked or listing.excluded):
        raise DataError(f"{root} holds no images: {reader.layout}{there}")
    dataset = choose(listing, config, seed)
    if not dataset.refs:
        name, reason = dataset.excluded[0]
        hint = " (dataset.missing_masks=predict goes without scores)" if reason == "no mask" else ""
        raise DataError(f"none of the images below {root} can be used, {name}: {reason}{hint}. {reader.layout}{there}")
    if not config.absent and stress is None:
        return dataset
    worse = None if stress is None else stress_of(stress)
    return replace(
        dataset, refs=[replace(ref, load=partial(_changed, ref, config, worse, seed)) for ref in dataset.refs]
    )


def _changed(ref: CaseRef, config: DatasetConfig, stress: Stress | None, seed: int) -> Case:
    """A case without the organ that is asked for, and under stress."""
    case = ref.load()
    if config.absent:
        empty = np.zeros(case.image.shape[:2], bool)
        source = None if case.source is None else replace(case.source, mask=None)
        touched = None if case.touched is None else empty
        case = replace(case, mask=empty, touched=touched, source=source, facts={})
    return case if stress is None else stress.applied(case, seed)
