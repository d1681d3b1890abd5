"""`dataset.files.labels=...`: a run for each organ of one set of masks, and one table over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from salip_exp._files import atomic_write
from salip_exp._runs.folder import write_json
from salip_exp._settings.differences import differing
from salip_exp._settings.folders import File
from salip_exp._settings.organs import of_organs, organs
from salip_exp._several import Summaries, rows, shared
from salip_exp.config import Config

VERSION = 1


def of_labels(config: Config) -> dict[str, Config]:
    """The configuration of each organ's run by the path of its folder below the common one: `organ/liver`."""
    return {f"{File.of_organ}/{name}": alone for name, alone in of_organs(config).items()}


def write_organs(folder: Path, config: Config, found: Summaries) -> None:
    """Write `organs.json` and `organs.csv`.

    Raises:
        Unwritable: the folder cannot be written.
    """
    apart = differing({name: folder / File.of_organ / name for name in found})
    write_json(folder / File.organs, _content(config, found) | {"differing": apart})
    table = rows(found, "organ")
    table.insert(2, "label", table["organ"].map({each.name: each.label for each in organs(config)}))
    atomic_write(folder / File.organ_table, table.to_csv(index=False, lineterminator="\n"))


def _content(config: Config, found: Summaries) -> dict[str, Any]:
    """What all runs say alike, and of each organ its label, `k`, folder, and the parts of its summary."""
    return {
        "version": VERSION,
        **shared(found, "confidence"),
        "organs": {
            each.name: {
                "label": each.label,
                "k": each.k,
                "run": f"{File.of_organ}/{each.name}",
                "overall": found[each.name]["overall"],
                "groups": found[each.name]["groups"],
            }
            for each in organs(config)
        },
    }
