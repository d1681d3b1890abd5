"""From a run to "why did this case fail, and would another sentence have helped?": two commands and four clicks."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.slow

RUN = [
    *("dataset=phantom_xray", "dataset.phantom.n=4", "sam=tiny", "clip=tiny", "sam.points_per_side=12"),
    *("progress=false", "score.resamples=100", "area.threshold=0.2"),
]


def test_from_a_run_to_another_sentence(browser, tmp_path: Path) -> None:
    clicks = 0

    def click(element) -> None:
        nonlocal clicks
        clicks += 1
        element.click()

    ran = subprocess.run(
        [sys.executable, "-m", "salip_exp", *RUN], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
    )
    page = next(line.split()[-1] for line in ran.stdout.splitlines() if line.startswith("its page"))
    browser.open(tmp_path / page)
    click(browser.find("#gallery .figures button"))  # the worst case comes first
    browser.wait(lambda: browser.find("#viewer .strip img").get_property("naturalWidth") > 500)
    scored = browser.find("#viewer .what").text
    assert scored.startswith("worst 1 ") and browser.find("#viewer .why").text.startswith("Lost by ")
    click(browser.find("#viewer .copy"))
    words = shlex.split(browser.run("return getSelection().toString()"))
    with subprocess.Popen(
        [sys.executable, *words[1:], "explore.port=0"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as explore:
        assert explore.stdout is not None
        address = explore.stdout.readline().split()[0]
        clicks += 1  # the address in the terminal
        browser.open(address)
        settled(browser)
        name = next(word.partition("=")[2] for word in words if word.startswith("explore.case="))
        assert browser.find("#case").get_attribute("value") == name and name in scored
        before = browser.find("#dsc").text
        assert f"DSC {before}" in scored  # as the run has it
        first = browser.find("#sentences textarea")
        click(first)
        first.send_keys(Keys.CONTROL, "a")
        first.send_keys("something bright and round")
        settled(browser)
        assert browser.find("#dsc-old").text.startswith(f"before {before}")
        explore.terminate()
    assert clicks == 4


def settled(browser) -> None:
    browser.wait(lambda: browser.run("const of = document.body.dataset; return of.turn && of.settled === of.turn"))
