"""Run the tests that break things on purpose, and print the fault matrix: `make faults`.

python tests/faults/matrix.py [--full] [pytest arguments]

Fails if a test fails or a row has no test. `--full` runs the slow tests too.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table
from rows import ROWS

STYLES = {"pass": "green", "slow only": "yellow", "fail": "bold red", "missing": "bold red"}


class Matrix:
    """Notes of every test which rows it holds, and how it ended."""

    def __init__(self) -> None:
        self.rows: dict[str, list[str]] = defaultdict(list)
        self.of_test: dict[str, list[str]] = {}
        self.outcome: dict[str, str] = {}
        self.seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Note the rows before slow tests are deselected."""
        for item in items:
            names = [row for mark in item.iter_markers("fault") for row in mark.args]
            unknown = set(names) - set(ROWS)
            if unknown:
                raise pytest.UsageError(f"{item.nodeid}: the matrix has no row {', '.join(sorted(unknown))}")
            self.of_test[item.nodeid] = names
            for row in names:
                self.rows[row].append(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the worst outcome of setup, call and teardown."""
        self.seconds[report.nodeid] += report.duration
        if report.failed:
            self.outcome[report.nodeid] = "fail"
        elif report.when == "call" and report.passed:
            self.outcome.setdefault(report.nodeid, "pass")

    def result(self, row: str) -> str:
        """How a row stands; one that has slow tests alone was not run here."""
        outcomes = {self.outcome.get(test, "unrun") for test in self.rows[row]}
        if not outcomes:
            return "missing"
        if "fail" in outcomes:
            return "fail"
        return "pass" if "pass" in outcomes else "slow only"

    def tests(self, row: str) -> str:
        """How many tests ran of those that hold the row."""
        ran = sum(test in self.outcome for test in self.rows[row])
        return f"{ran} of {len(self.rows[row])}"

    def time(self, row: str) -> float:
        """Seconds of the row's tests."""
        return sum(self.seconds[test] for test in self.rows[row])


def show(matrix: Matrix, seconds: float) -> None:
    """The matrix as a table on stdout."""
    table = Table(title="fault matrix", title_justify="left")
    for name in ("row", "what is broken", "tests run", "result", "seconds"):
        table.add_column(name, justify="right" if name in ("tests run", "seconds") else "left")
    for row, broken in ROWS.items():
        result = matrix.result(row)
        style = STYLES[result]
        table.add_row(row, broken, matrix.tests(row), f"[{style}]{result}[/{style}]", f"{matrix.time(row):.1f}")
    console = Console(width=110)
    console.print(table)
    results = [matrix.result(row) for row in ROWS]
    counts = ", ".join(f"{results.count(name)} {name}" for name in STYLES if name in results)
    console.print(f"{len(ROWS)} rows: {counts}; {len(matrix.outcome)} tests in {seconds:.0f} s")


def main(arguments: list[str]) -> int:
    """Run the marked tests and show the matrix; the exit code of the command."""
    full = "--full" in arguments
    rest = [each for each in arguments if each != "--full"]
    tests = Path(__file__).parents[1]
    matrix = Matrix()
    chosen = "fault" if full else "fault and not slow"
    start = time.monotonic()
    code = pytest.main(["-q", "-m", chosen, "--rootdir", str(tests.parent), str(tests), *rest], [matrix])
    show(matrix, time.monotonic() - start)
    return int(code) or int(any(matrix.result(row) in ("fail", "missing") for row in ROWS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
