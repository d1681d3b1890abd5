"""A visit to the page of task=explore: type, drag, save, run the saved command, and find the same numbers."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from axe_core_python.base import AXE_SCRIPT
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

pytestmark = pytest.mark.slow

TYPED = [
    *("dataset=phantom_xray", "dataset.phantom.n=4", "sam=tiny", "clip=tiny", "sam.points_per_side=12"),
    *("figures=none", "progress=false"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("explored")


@pytest.fixture(scope="module")
def address(place: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "salip_exp", "task=explore", "explore.port=0", *TYPED]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0]
        process.terminate()


def settled(browser) -> None:
    """Until nothing is asked any more, and all numbers shown are of the state shown."""
    browser.wait(lambda: browser.run("const of = document.body.dataset; return of.turn && of.settled === of.turn"))


def number(browser, selector: str) -> float:
    return float(browser.find(selector).text)


@pytest.fixture
def page(browser, address):
    browser.open(address)
    settled(browser)
    return browser


def test_typed_dragged_saved_and_run_again(page, place):
    assert page.errors() == []
    assert {each.split("/")[2] for each in page.requests() if not each.startswith("data:")} == {
        page.driver.current_url.split("/")[2]
    }
    before = page.find("#dsc").text
    first = page.find("#sentences textarea")
    first.send_keys(Keys.CONTROL, "a")
    first.send_keys('a dark lobe, it\'s "odd"')
    settled(page)
    page.find("#sentences li:nth-child(2) input").click()
    field = page.find("#area_threshold-number")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys("0.3")
    settled(page)
    assert page.find("#dsc-old").text.startswith(f"before {before}")
    page.find("input[value=box]").click()
    canvas = page.find("#canvas")
    page.run("arguments[0].scrollIntoView({block: 'center'})", canvas)
    ActionChains(page.driver).move_to_element_with_offset(canvas, -120, -90).click_and_hold().move_by_offset(
        100, 190
    ).release().perform()
    page.wait(lambda: page.find("#prompted").text.startswith("SAM's mask: DSC"))
    page.find("#many").click()
    page.wait(lambda: page.find("#average").text.count("n = 4") == 2 and "scored" not in page.find("#average").text)
    numbers = dict(zip(page.texts("#several td:nth-child(1)"), page.texts("#several td:nth-child(2)"), strict=True))
    Select(page.find("#which")).select_by_value("one")
    page.find("#save").click()
    page.wait(lambda: page.find("#saved").is_displayed())
    subset = next(each for each in shlex.split(page.find("#command").text) if each.startswith("dataset.subset="))
    assert (place / subset.partition("=")[2].strip("'")).read_text() == page.find("#case").get_attribute("value") + "\n"
    Select(page.find("#which")).select_by_value("compared")
    page.find("#save").click()
    page.wait(lambda: "dataset.subset" not in page.find("#command").text)
    words = shlex.split(page.find("#command").text)
    subprocess.run([sys.executable, *words[1:], f"hydra.run.dir={place / 'again'}"], cwd=place, check=True)
    table = pd.read_csv(place / "again" / "cases.csv")
    assert dict(zip(table.case_id, (f"{each:.3f}" for each in table.dsc), strict=True)) == numbers


def test_what_was_changed_is_undone_by_keyboard(page):
    before = page.find("#dsc").text
    box = page.find("#sentences li:nth-child(1) input")
    box.send_keys(Keys.SPACE)
    settled(page)
    assert page.find("#sentences li:nth-child(1)").get_attribute("class") == "off"
    page.find("#undo").send_keys(Keys.ENTER)
    settled(page)
    assert page.find("#sentences li:nth-child(1)").get_attribute("class") == ""
    assert page.find("#dsc").text == before
    page.find("#box").send_keys("40 40 120 200", Keys.ENTER)
    page.wait(lambda: page.find("#prompted").text.startswith("SAM's mask"))
    page.find("#ranking button").send_keys(Keys.ENTER)
    assert page.errors() == []


def test_a_case_is_found_by_a_part_of_its_name(page):
    first = page.find("#case").get_attribute("value")
    page.find("#next").click()
    settled(page)
    second = page.find("#case").get_attribute("value")
    assert second != first and page.find("#place").text.startswith("2 of 4")
    page.find("#previous").click()
    settled(page)
    field = page.find("#case")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(second[:-1])
    page.wait(
        lambda: second in page.run("return [...document.querySelectorAll('#ids option')].map((each) => each.value)")
    )
    field.send_keys(second[-1], Keys.ENTER)
    settled(page)
    assert page.find("#place").text.startswith("2 of 4") and page.errors() == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_and_nothing_lies_beside_the_page(page, scheme, width):
    page.emulate(scheme)
    page.resize(width, 900)
    page.run(AXE_SCRIPT)
    found = page.driver.execute_async_script("axe.run().then(arguments[0])")["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    assert page.run("return document.documentElement.scrollWidth") <= width
