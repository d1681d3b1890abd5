"""What readers do with the pages, in a real browser: by mouse, by keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import shutil
from urllib.parse import urlencode

import pytest
from axe_core_python.base import AXE_SCRIPT
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from salip_exp._reports.serve import Pages, serving
from salip_exp.evaluation.statistics import compare
from salip_exp.runs.folder import State, find_runs, read_run
from salip_exp.runs.records import record_path

pytestmark = pytest.mark.slow

TOTAL, COMMON = 131, 129


def head(browser, name: str):
    return browser.driver.find_element(By.XPATH, f"//th/button[text()='{name}']")


def column(browser, number: int) -> list[str]:
    return browser.texts(f"section.grid tbody tr > :nth-child({number})")


def test_an_id_made_of_markup_is_shown_as_text(browser, outputs, hostile):
    browser.open(outputs / "fake/a/1/report.html")
    browser.find("input[type=search]").send_keys("alert(1)")
    assert column(browser, 1) == [hostile]
    assert browser.run("return document.querySelectorAll('img[src=x]').length") == 0


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_cases_are_sorted_by_a_column_both_ways(browser, outputs, way):
    browser.open(outputs / "fake/a/1/report.html")
    shown = column(browser, 3)
    assert shown == sorted(shown, key=float) and len(shown) == 100, "the worst cases come first"
    button = head(browser, "DSC")
    button.click() if way == "mouse" else button.send_keys(Keys.ENTER)
    assert column(browser, 3) == sorted(column(browser, 3), key=float, reverse=True)
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "descending"
    other = head(browser, "case")
    other.click() if way == "mouse" else other.send_keys(Keys.SPACE)
    assert column(browser, 1)[1:3] == ["case_000", "case_001"]
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "th[aria-sort]")) == 1


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_cases_are_paged_by_hundreds(browser, outputs, way):
    browser.open(outputs / "fake/a/1/report.html")
    first = column(browser, 1)
    previous, forward = browser.driver.find_elements(By.CSS_SELECTOR, ".pager button")
    assert not previous.is_enabled() and browser.texts(".where") == ["page 1 of 2"]
    forward.click() if way == "mouse" else forward.send_keys(Keys.ENTER)
    rest = column(browser, 1)
    assert len(first) == 100 and len(rest) == TOTAL - 100 and not set(first) & set(rest)
    assert not forward.is_enabled() and browser.texts(".where") == ["page 2 of 2"]


def test_cases_are_filtered_by_text_and_by_group(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    search = browser.find("input[type=search]")
    search.send_keys("case_01")
    assert len(column(browser, 1)) == 10 and browser.texts(".count") == [f"10 of {TOTAL} shown"]
    Select(browser.find("select")).select_by_visible_text("group 1")
    assert set(column(browser, 2)) == {"group 1"} and len(column(browser, 1)) == 5
    search.send_keys("x")
    assert column(browser, 1) == [] and browser.texts(".count") == [f"0 of {TOTAL} shown"]


def test_a_thumbnail_of_the_table_leads_to_its_picture(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    link = browser.find("tbody td a[href^='#picture']")
    target = link.get_attribute("href").partition("#")[2]
    assert link.find_element(By.TAG_NAME, "img").get_property("naturalWidth") > 0
    link.send_keys(Keys.ENTER)
    assert browser.run("return document.querySelector('figure:target').id") == target


def test_strips_are_shown_with_what_they_are(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    entries = read_run(outputs / "fake/a/1").pictures["strips"]
    pictures = browser.driver.find_elements(By.CSS_SELECTOR, ".strips img")
    assert [each.get_attribute("alt") for each in pictures] == [f"cascade of {each['case_id']}" for each in entries]
    for picture in pictures:
        browser.run("arguments[0].scrollIntoView()", picture)
        browser.wait(lambda it=picture: it.get_property("naturalWidth") > 500)
    assert [each.split(" · ")[0] for each in browser.texts(".strips figcaption")] == [each["rule"] for each in entries]


def test_every_run_of_the_index_is_labelled_and_can_be_filtered(browser, outputs):
    browser.open(outputs / "index.html")
    labels = {run.label for run in find_runs(outputs)}
    assert labels == {State.finished, State.killed, State.damaged}
    assert {each.split("\n")[0] for each in column(browser, 6)} == labels
    Select(browser.find("select[data-column='5']")).select_by_visible_text("killed")
    assert len(column(browser, 2)) == 1 and column(browser, 8) == ["missing (69/129)"]


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_two_runs_of_the_index_are_compared(browser, outputs, way):
    browser.open(outputs / "index.html")
    button = browser.find("#compare")
    assert not button.is_enabled()
    for name in ("fake/a/1", "fake/b/2"):
        box = browser.find(f"input[value='{name}']")
        box.click() if way == "mouse" else box.send_keys(Keys.SPACE)
    button.click() if way == "mouse" else button.send_keys(Keys.ENTER)
    browser.appears("svg.scatter circle")
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, "svg.scatter circle")) == COMMON
    sizes = [float(each) for each in column(browser, 6)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0
    assert browser.errors() == []


def comparison(browser, outputs, a: str, b: str) -> str:
    """What the page says of two runs."""
    browser.open((outputs / "compare.html").as_uri() + f"#{urlencode({'a': a, 'b': b})}")
    browser.appears("#outcome p")
    return browser.find("#outcome").text


def scores(run) -> dict[str, float | None]:
    return {each.case_id: each.dsc for each in run.records}


def signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def test_the_mean_difference_and_its_interval_are_those_of_the_common_cases(browser, outputs):
    a, b = (scores(read_run(outputs / name)) for name in ("fake/a/1", "fake/b/2"))
    for pair, (ours, other) in {("fake/a/1", "fake/b/2"): (b, a), ("fake/b/2", "fake/a/1"): (a, b)}.items():
        found = compare(ours, other)
        assert found.n == COMMON and found.low < found.difference < found.high
        said = comparison(browser, outputs, *pair)
        mean = f"mean {signed(found.difference)} [{signed(found.low)}, {signed(found.high)}]"
        assert f"{mean} over n = {COMMON} common cases (A " in said
        assert f"2 are in {'A' if ours is b else 'B'} alone" in said


def test_slices_are_compared_by_volume(browser, outputs):
    ours, other = (read_run(outputs / name) for name in ("slices/d/1", "slices/c/1"))
    found = compare(scores(ours), scores(other), {each.case_id: f"{each.group}/{each.volume}" for each in ours.records})
    said = comparison(browser, outputs, "slices/c/1", "slices/d/1")
    assert f"[{signed(found.low)}, {signed(found.high)}] over n = 24 common cases of 4 subjects (A " in said


def test_a_run_beside_itself_has_nothing_to_resample(browser, outputs):
    assert f"mean +0.000 [–] over n = {TOTAL} common cases" in comparison(browser, outputs, "fake/a/1", "fake/a/1")


def test_the_interval_of_what_was_made_anew_since_is_missing(browser, outputs, tmp_path):
    copy = shutil.copytree(outputs, tmp_path / "copy")
    shutil.copy(copy / "slices/c/1/cases.js", copy / "slices/d/1/cases.js")
    said = comparison(browser, copy, "slices/c/1", "slices/d/1")
    assert "mean +0.000 [missing] over n = 24 common cases (A " in said


def test_a_case_of_a_comparison_leads_to_its_place_in_either_run(browser, outputs):
    browser.open((outputs / "compare.html").as_uri() + "#a=fake%2Fa%2F1&b=fake%2Fb%2F2")
    browser.appears("section.grid tbody a")
    case = column(browser, 1)[0]
    browser.find("section.grid tbody a").click()
    browser.appears("#cases")
    assert column(browser, 1) == [case]


def test_a_run_without_its_cases_is_named(browser, outputs, tmp_path):
    copy = shutil.copytree(outputs, tmp_path / "copy")
    (copy / "fake" / "a" / "1" / "cases.js").unlink()
    browser.open((copy / "compare.html").as_uri() + "#a=fake%2Fa%2F1&b=fake%2Fb%2F2")
    browser.wait(lambda: "cases.js" in browser.find("#outcome").text)
    assert browser.find("#outcome").text == "fake/a/1 has no cases.js: task=report writes it"


def test_no_other_script_is_loaded_whatever_the_address_says(browser, outputs):
    browser.open((outputs / "compare.html").as_uri() + "#a=https://example.org&b=../../elsewhere")
    assert browser.find("#outcome").text == "Choose two runs of the list."
    assert all("example.org" not in each.partition("#")[0] for each in browser.requests())


def test_every_page_but_the_index_leads_back_to_it(browser, outputs, page):
    browser.open(outputs / page)
    links = browser.driver.find_elements(By.CSS_SELECTOR, "body > header nav a")
    assert [each.text for each in links] == ["All runs"] * (page != "index.html")
    for link in links:
        link.send_keys(Keys.ENTER)
        browser.wait(lambda: browser.texts("h1") == ["Runs and studies"])


def test_dark_is_followed_and_the_button_changes_it(browser, outputs):
    def background() -> str:
        return browser.run("return getComputedStyle(document.body).backgroundColor")

    browser.open(outputs / "index.html")
    light = background()
    browser.emulate("dark")
    dark = background()
    assert light != dark
    browser.find("#theme").send_keys(Keys.ENTER)
    assert background() == light
    browser.emulate("dark", media="print")
    assert background() == light, "paper is white"


def test_the_skip_link_comes_first_and_jumps_over_the_head(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    browser.find("body").send_keys(Keys.TAB)
    skip = browser.driver.switch_to.active_element
    assert skip.text == "To the content" and skip.is_displayed()
    skip.send_keys(Keys.ENTER)
    assert browser.driver.switch_to.active_element.get_attribute("id") == "content"


def test_nothing_but_tables_is_wider_than_a_phone(browser, outputs, page):
    browser.resize(390, 800)
    browser.open(outputs / page)
    assert browser.run("return document.documentElement.scrollWidth") <= 390


def test_plots_fill_the_page_and_none_is_cut(browser, outputs):
    browser.open(outputs / "stub/tune/default/study.html")
    browser.appears(".plots .main-svg")
    sizes = "return [...document.querySelectorAll('.plots .plotly-graph-div')].map(each => ["
    sizes += "each.offsetWidth, each.querySelector('.main-svg').getBoundingClientRect().width])"
    found = browser.run(sizes)
    assert len(found) >= 4 and all(width == drawn > 1000 for width, drawn in found)


def test_what_is_only_of_use_on_a_screen_is_not_printed(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    browser.emulate(media="print")
    assert not browser.find(".filters").is_displayed() and not browser.find("#theme").is_displayed()
    assert browser.find("h1").is_displayed() and browser.find("svg.distribution").is_displayed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser, outputs, page, scheme):
    browser.emulate(scheme)
    browser.open(outputs / page)
    if page == "compare.html":
        browser.appears("section.grid")
    browser.run(AXE_SCRIPT)
    found = browser.driver.execute_async_script("axe.run().then(arguments[0])")
    serious = [each for each in found["violations"] if each["impact"] in ("serious", "critical")]
    assert [(each["id"], [node["html"][:200] for node in each["nodes"][:3]]) for each in serious] == []
    assert found["passes"]


def test_a_served_page_follows_its_run_and_keeps_what_was_chosen(browser, outputs, tmp_path):
    copy = shutil.copytree(outputs, tmp_path / "copy")
    run = copy / "fake" / "b" / "2"
    pages = Pages(copy)
    pages.refresh()
    with serving(copy, 0) as server:
        browser.open(f"http://127.0.0.1:{server.server_port}/fake/b/2/report.html")
        browser.find("input[type=search]").send_keys("case_12")
        head(browser, "case").click()
        browser.find("#theme").click()
        assert len(column(browser, 1)) == 10
        browser.wait(lambda: any("/state" in each for each in browser.requests()))
        (run / "summary.json").unlink()
        record_path(run, "case_120").unlink()
        pages.refresh()
        browser.appears("p .damaged")
        browser.wait(lambda: column(browser, 1) == [f"case_{i}" for i in range(121, 130)])
        assert browser.run("return document.documentElement.dataset.theme") == "dark"
        assert browser.errors() == []
