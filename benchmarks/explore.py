"""Milliseconds from a change on the page of task=explore to its answer, over HTTP, with everything in the cache.

    python benchmarks/explore.py                                      # 50 chest x-ray phantoms, embedded networks
    python benchmarks/explore.py dataset=xray dataset.root=DIR        # the same on other images; any override goes on

Every sentence is a new one, so that its text's forward counts; a first round fills the cache and does not count.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

CASES = 50
USUAL = ("sam=tiny", "clip=tiny", "threads=1", "progress=false", "explore.port=0")


def main() -> None:
    """Print a row per kind of change: median and worst, in milliseconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", default=["dataset=phantom_xray", f"dataset.phantom.n={CASES}"])
    parser.add_argument("--repeats", type=int, default=20)
    args = parser.parse_args()
    command = [sys.executable, "-m", "salip_exp", "task=explore", *USUAL, *args.overrides]
    with (
        tempfile.TemporaryDirectory() as place,
        subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        page = Page(next(word for line in server.stdout for word in line.split() if word.startswith("http")))
        print(f"{'from a change to its answer':<50} {'median ms':>10} {'worst':>6}")
        for said, change, repeats in changes(page, args.repeats):
            taken = [timed(change, turn) for turn in range(repeats + 1)][1:]
            print(f"{said:<50} {statistics.median(taken):>10.0f} {max(taken):>6.0f}")
        server.terminate()


class Page:
    """What the page at an address asks, as it asks."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._root, self._token = f"http://{parts.netloc}", parse_qs(parts.query)["visit"][0]
        with urllib.request.urlopen(address) as answer:
            told = answer.read().decode().partition('id="start">')[2].partition("</script>")[0]
        self.start: dict[str, Any] = json.loads(told)
        self.cases = [case_id for _, case_id, _ in self.post("cases", start=0, count=CASES)]

    def post(self, question: str, **told: Any) -> Any:
        """The answer to a question."""
        headers = {"X-Token": self._token, "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._root}/api/{question}", json.dumps(told).encode(), headers)
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def asked(self, **changed: Any) -> dict[str, Any]:
        """What is configured, changed."""
        return {**self.start["asked"], **changed}


def changes(page: Page, repeats: int) -> list[tuple[str, Callable[[int], Any], int]]:
    """Kinds of changes: what each is, how the one of a turn is asked, and how often."""
    first, rest, then = page.cases[0], page.start["asked"]["sentences"][1:], page.asked()

    def said(kind: str, turn: int) -> dict[str, Any]:
        return page.asked(sentences=[f"a dark lung, {kind} {turn}", *rest])

    def scored(turn: int) -> None:
        for place in range(0, len(page.cases), 5):
            page.post("scores", cases=page.cases[place : place + 5], asked=said("scored", turn))

    n = len(page.cases)
    return [
        (
            "sentence: ranking of one case",
            lambda turn: page.post("case", case=first, asked=said("one", turn), before=then),
            repeats,
        ),
        (
            f"sentence: rankings of {n} cases",
            lambda turn: page.post("rankings", cases=page.cases, asked=said("many", turn), before=then),
            repeats // 2,
        ),
        (f"sentence: scores of {n} cases, in parts of five", scored, max(1, repeats // 10)),
        (
            "threshold: ranking of one case",
            lambda turn: page.post("case", case=first, asked=page.asked(area_threshold=0.1 + turn / 1000), before=then),
            repeats,
        ),
        (
            "box: mask",
            lambda turn: page.post("prompt", case=first, boxes=[[30 + turn, 40, 110, 200]], points=[]),
            2 * repeats,
        ),
        (
            "point: mask",
            lambda turn: page.post("prompt", case=first, boxes=[], points=[[60 + turn, 90, 1]]),
            2 * repeats,
        ),
    ]


def timed(change: Callable[[int], Any], turn: int) -> float:
    """Milliseconds that a change takes."""
    begun = time.perf_counter()
    change(turn)
    return 1000 * (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
