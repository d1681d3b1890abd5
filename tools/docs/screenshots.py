"""Make the pictures of the pages: python tools/docs/screenshots.py [OUTPUTS]

Without OUTPUTS the phantom runs and the experiment that they show are made first, in a folder that is removed again.
"""

from __future__ import annotations

import base64
import importlib.util
import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from salip_exp._reports.page import address
from salip_exp._runs.folder import State, find_runs, find_studies

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
MADE = (["+experiment=table1"], ["task=report"])
WIDTH, HEIGHT = 1200, 1000
LOADING = (
    "const sight = each => each.getBoundingClientRect().top < innerHeight;"
    "return [...document.images].filter(each => !each.complete && sight(each)).length"
)
"""Pictures in sight that are not there yet; those further down are loaded when they are scrolled to."""
COLORS = 256  # of a palette: enough for text and grey pictures, and a third of the bytes


def main() -> None:
    """Take the five pictures."""
    if len(sys.argv) > 1:
        take(Path(sys.argv[1]))
        return
    with tempfile.TemporaryDirectory() as place:
        for overrides in MADE:
            subprocess.run([sys.executable, "-m", "salip_exp", *overrides, f"outputs={place}"], check=True)
        take(Path(place))


def take(outputs: Path) -> None:
    """The page over all runs, a SaLIP run on brains, its worst case, its study, and the run beside its upper bound."""
    runs = [run for run in find_runs(outputs) if run.label is State.finished and "cc359" in run.summary["dataset"]]
    salip, bound = (next(run.folder for run in runs if run.summary["method"] == name) for name in ("salip", "gt_sam"))
    study = next(each.folder for each in find_studies(outputs) if each.kind == "experiment" and each.content)
    pair = f"#a={address(salip, outputs)}&b={address(bound, outputs)}"
    with browser() as found:
        found.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
        found.resize(WIDTH, HEIGHT)
        shot(found, (outputs / "index.html").absolute().as_uri(), "index_page", HEIGHT)
        shot(found, (salip / "report.html").absolute().as_uri(), "run_page", 1500)
        shot(found, (salip / "report.html").absolute().as_uri(), "case_page", 820, "#gallery .figures button")
        shot(found, (study / "study.html").absolute().as_uri(), "study_page", HEIGHT)
        shot(found, (outputs / "compare.html").absolute().as_uri() + pair, "compare_page", HEIGHT)


def browser() -> Any:
    """The Chromium of the tests."""
    spec = importlib.util.spec_from_file_location("chromium", ROOT / "tests" / "browser" / "chromium.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.chromium(WIDTH, HEIGHT)


def shot(found: Any, page: str, name: str, height: int, clicked: str = "") -> None:
    """The upper part of a page as `NAME.png`, after something was clicked."""
    found.open(page)
    found.appears("table td")
    if clicked:
        found.find(clicked).click()
    found.resize(WIDTH, height)  # as if the window were so tall: what is loaded lazily is loaded down to here
    found.wait(lambda: found.run(LOADING) == 0)
    picture = Image.open(io.BytesIO(base64.b64decode(found.driver.get_screenshot_as_base64())))
    picture.convert("RGB").quantize(COLORS).save(PICTURES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
