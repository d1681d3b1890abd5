"""Draw the README's example strip, from a run on six chest phantoms: python tools/docs/strip.py"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from salip_exp._reports.listeners import Pictures
from salip_exp._runs.folder import read_pictures
from salip_exp._runs.lab import Lab
from salip_exp._runs.runner import run
from salip_exp._settings.compose import compose
from salip_exp._settings.validate import typed

OVERRIDES = ["dataset=phantom_xray", "dataset.limit=6"]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as outputs:
        folder = Path(outputs) / "run"
        run(typed(compose(OVERRIDES)), folder, ["python", "-m", "salip_exp", *OVERRIDES], Lab(), [Pictures()])
        median = next(entry for entry in read_pictures(folder)["strips"] if entry["rule"] == "median")
        shutil.copyfile(folder / median["file"], Path(__file__).parents[2] / "docs" / "pictures" / "strip.png")
