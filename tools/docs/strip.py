"""Draw the README's example strip, from a run on six chest phantoms: python tools/docs/strip.py"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from salip_exp.runs.runner import run
from salip_exp.settings.compose import compose
from salip_exp.settings.validate import typed

OVERRIDES = ["dataset=phantom_xray", "dataset.limit=6"]

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as outputs:
        folder = Path(outputs) / "run"
        run(typed(compose(OVERRIDES)), folder, ["python", "-m", "salip_exp", *OVERRIDES])
        strips = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["strips"]
        median = next(entry for entry in strips if entry["rule"] == "median")
        shutil.copyfile(folder / median["file"], Path(__file__).parents[2] / "docs" / "pictures" / "strip.png")
