"""CC359 (Calgary-Campinas): T1 volumes with silver-standard brain masks, grouped by vendor and field strength."""

from __future__ import annotations

import re
from pathlib import Path

from salip_exp.config import DatasetConfig
from salip_exp.data.paths import files_below, require_folder, safe, stem
from salip_exp.data.selection import Found
from salip_exp.data.slices import slice_refs
from salip_exp.data.volumes import SUFFIXES
from salip_exp.errors import CaseError

LAYOUT = (
    "CC359 wants Original/<SITE>/CC0001_philips_15_55_M.nii.gz and "
    "Silver-standard/<SITE>/CC0001_philips_15_55_M_ss.nii.gz below dataset.root."
)
NAME = re.compile(r"CC\d+_(?P<vendor>ge|philips|siemens)_(?P<field>15|3)_", re.IGNORECASE)
VENDORS = {"ge": "GE", "philips": "Philips", "siemens": "Siemens"}
FIELDS = {"15": "1.5", "3": "3"}


def group_of(name: str) -> str | None:
    """Vendor and field strength in tesla, e.g. `Philips 1.5`, from a file name; None where it does not say."""
    found = NAME.match(name)
    return f"{VENDORS[found['vendor'].lower()]} {FIELDS[found['field']]}" if found else None


def read_cc359(root: Path, config: DatasetConfig) -> Found:
    """Slices of every volume below the root; masks end in `_ss`, wherever they lie."""
    require_folder(root, LAYOUT)
    files = files_below(root, "**/*", SUFFIXES)
    masks = {stem(path).removesuffix("_ss"): path for path in files if stem(path).endswith("_ss")}
    refs, unmasked, excluded = [], [], []
    for path in (path for path in files if not stem(path).endswith("_ss")):
        name = stem(path)
        group = group_of(name)
        if group is None:
            excluded.append((name, "the file name does not tell vendor and field strength"))
            continue
        mask = masks.get(name)
        try:
            paths = [safe(each, root, config.files.follow_links) for each in (path, mask) if each is not None]
        except CaseError as error:
            excluded.append((name, str(error)))
            continue
        if len(paths) == 2:
            refs += slice_refs(name, group, paths[0], paths[1], config)
        else:
            unmasked += slice_refs(name, group, paths[0], None, config)
    return Found(refs, unmasked, excluded)
