"""CC359 (Calgary-Campinas): T1 volumes with silver-standard brain masks, grouped by vendor and field strength."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from salip_exp.config import DatasetConfig
from salip_exp.data.case import CaseRef
from salip_exp.data.datasets import Listing, Reader, gather
from salip_exp.data.loading import slice_refs
from salip_exp.data.paths import VOLUMES, by_name, files_below, require_folder, stem

_LAYOUT = (
    "CC359 wants Original/<SITE>/CC0001_philips_15_55_M.nii.gz and "
    "Silver-standard/<SITE>/CC0001_philips_15_55_M_ss.nii.gz below dataset.root."
)
NAME = re.compile(r"CC\d+_(?P<vendor>ge|philips|siemens)_(?P<field>15|3)_\d+_[MF]", re.IGNORECASE)
_FOREIGN = "its name does not tell vendor and field strength as CC0001_philips_15_55_M does"
_VENDORS = {"ge": "GE", "philips": "Philips", "siemens": "Siemens"}
_FIELDS = {"15": "1.5", "3": "3"}


def group_of(name: str) -> str | None:
    """Vendor and field strength in tesla, e.g. `Philips 1.5`, from a file name; None where it does not say."""
    found = NAME.fullmatch(name)
    return f"{_VENDORS[found['vendor'].lower()]} {_FIELDS[found['field']]}" if found else None


def _read_cc359(root: Path, config: DatasetConfig) -> Listing:
    """Slices of every volume; masks end in `_ss` and lie in Silver-standard, or where that is absent anywhere below."""
    require_folder(root, _LAYOUT)
    originals, standards = (_files(root, part, config.files.follow_links) for part in ("Original", "Silver-standard"))
    masks = by_name((path for path in standards if _is_mask(path)), lambda path: stem(path).removesuffix("_ss"))
    images = by_name((path for path in originals if not _is_mask(path)), stem)
    groups = {name: group_of(name) for name in images}
    foreign = [name for name, group in groups.items() if group is None]

    def refs(name: str, image: Path, mask: Path | None) -> list[CaseRef]:
        return slice_refs(name, str(groups[name]), image, mask, config)

    others = [path for name in foreign for path in (images.pop(name), masks.pop(name, None)) if path is not None]
    found = gather(images, masks, root, config, refs, others)
    return replace(found, excluded=[*((name, _FOREIGN) for name in foreign), *found.excluded])


def _files(root: Path, part: str, follow_links: bool) -> list[Path]:
    """Volumes below one part of the layout; below the root where there is no such folder."""
    return files_below(root / part if (root / part).is_dir() else root, "**/*", VOLUMES, follow_links)


def _is_mask(path: Path) -> bool:
    return stem(path).endswith("_ss")


READER = Reader(_read_cc359, _LAYOUT)
