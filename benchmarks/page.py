"""How fast a run's page opens in Chromium, and how large it is, by the number of cases.

    python benchmarks/page.py                 # 100, 1,000 and 5,000 cases, each opened five times

Load is the page's own measure, from the first request to the end of its load event (navigation timing); first page of
the table, sorting and filtering are timed inside the page, to the next frame.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from salip_exp._reports.run_page import write_run_page
from salip_exp._runs.folder import RunFolder, read_run

TESTS = Path(__file__).parents[1] / "tests"
CASES = (100, 1000, 5000)
LOADED = "const [it] = performance.getEntriesByType('navigation'); return it.loadEventEnd - it.startTime"
TIMED = """
const done = arguments[arguments.length - 1];
const begun = performance.now();
(new Function(arguments[0]))();
requestAnimationFrame(() => setTimeout(() => done(performance.now() - begun), 0));
"""
SORT = "document.querySelector('#cases th button').click()"
FILTER = "const it = document.querySelector('#cases input'); it.value = '_33'; it.dispatchEvent(new Event('input'))"


def main() -> None:
    """Print a row per number of cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=CASES)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    chromium = module(TESTS / "browser" / "chromium.py")
    if reason := chromium.absent():
        sys.exit(reason)
    with tempfile.TemporaryDirectory() as place, chromium.chromium() as browser:
        run = small_run(Path(place) / "run")
        print(f"{'cases':>6} {'MB':>6} {'load ms: median':>16} {'worst':>6} {'sort ms':>8} {'filter ms':>10}")
        for n in args.cases:
            page = page_of(run, n, Path(place) / str(n))
            loads, sorts, filters = [], [], []
            for _ in range(args.repeats):
                browser.open(page)
                browser.wait(lambda: browser.run(LOADED) > 0)
                loads.append(browser.run(LOADED))
                sorts.append(browser.driver.execute_async_script(TIMED, SORT))
                filters.append(browser.driver.execute_async_script(TIMED, FILTER))
            size = page.stat().st_size / 1e6
            median, worst = statistics.median(loads), max(loads)
            times = f"{statistics.median(sorts):>8.0f} {statistics.median(filters):>10.0f}"
            print(f"{n:>6} {size:>6.2f} {median:>16.0f} {worst:>6.0f} {times}")


def module(path: Path) -> ModuleType:
    """A file of the tests, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found
    spec.loader.exec_module(found)
    return found


def small_run(folder: Path) -> RunFolder:
    """A finished run of a fake method, with pictures."""
    fakes = module(TESTS / "runs" / "fakes.py")
    with redirect_stdout(io.StringIO()):
        fakes.run_fake(folder, figures="worst:10,best:10")
    return read_run(folder)


def page_of(run: RunFolder, n: int, folder: Path) -> Path:
    """The page of the run, had it so many cases: its own, again and again under other ids."""
    folder.mkdir()
    own = run.records
    ids = (f"CC{i // 10:04d}_siemens_3_55_F/sagittal_{i:04d}" for i in range(n))
    records = tuple(replace(own[i % len(own)], case_id=case_id) for i, case_id in enumerate(ids))
    (folder / "figures").symlink_to(run.folder / "figures")
    write_run_page(replace(run, folder=folder, records=records))
    return folder / "report.html"


if __name__ == "__main__":
    main()
