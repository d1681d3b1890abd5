"""What readers do with the pages, in a real browser: by mouse, by keyboard, on a phone, in the dark, on paper."""

from __future__ import annotations

import json
import shlex
import shutil
from urllib.parse import urlencode

import pytest
from axe_core_python.base import AXE_SCRIPT
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from salip_exp._reports import drawing, gallery
from salip_exp._reports.run_page import write_page
from salip_exp._reports.serve import Pages, serving
from salip_exp._runs.folder import State, find_runs, read_run
from salip_exp._runs.records import record_path
from salip_exp.config import ReportConfig
from salip_exp.evaluation.statistics import compare

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
    assert len(column(browser, 1)) == 10 and browser.texts(".grid .count") == [f"10 of {TOTAL} shown"]
    Select(browser.find(".grid select")).select_by_visible_text("group 1")
    assert set(column(browser, 2)) == {"group 1"} and len(column(browser, 1)) == 5
    search.send_keys("x")
    assert column(browser, 1) == [] and browser.texts(".grid .count") == [f"0 of {TOTAL} shown"]


@pytest.mark.parametrize("way", ["mouse", "keyboard"])
def test_a_picture_opens_with_its_strip_and_others_follow(browser, outputs, way):
    browser.open(outputs / "fake/a/1/report.html")
    button = browser.find("tbody td button.opens")
    assert button.find_element(By.TAG_NAME, "img").get_property("naturalWidth") > 0
    button.click() if way == "mouse" else button.send_keys(Keys.ENTER)
    browser.wait(lambda: browser.find("#viewer .strip img").get_property("naturalWidth") > 500)
    said = browser.find("#viewer .what").text
    assert "DSC" in said and browser.find("#viewer .layered path.target")
    browser.find("#viewer button[value='1']").click()
    assert browser.find("#viewer .what").text != said
    browser.find("#viewer").send_keys(Keys.ESCAPE)
    browser.wait(lambda: not browser.find("#viewer").is_displayed())


def test_a_case_without_picture_opens_with_the_command_to_try_it(browser, outputs, hostile):
    browser.open((outputs / "fake/a/1/report.html").as_uri() + "#case=case_05")
    opened(browser, "case_050")
    assert "group 0 · case_050 · DSC" in browser.find("#viewer .what").text
    browser.wait(lambda: "report.watch=true" in browser.find("#viewer [role=status]").text)
    words = shlex.split(browser.find("#viewer .command").text)
    assert words[3:] == ["task=explore", f"explore.run={outputs / 'fake/a/1'}", "explore.case=case_050"]
    browser.find("#viewer button[value='1']").click()
    after = browser.texts("#cases tbody th")[browser.texts("#cases tbody th").index("case_050") + 1]
    assert after in browser.find("#viewer .what").text
    browser.find("#viewer .copy").click()
    browser.wait(lambda: browser.find("#viewer .copy").text in ("Copied", "Selected"))
    assert browser.run("return getSelection().toString()").endswith(f"explore.case={after}")
    browser.find("#viewer").send_keys(Keys.ESCAPE)
    browser.find("input[type=search]").clear()
    browser.find("input[type=search]").send_keys("script")
    opened(browser, hostile)
    assert shlex.split(browser.find("#viewer .command").text)[-1] == f"explore.case={hostile}"
    assert browser.errors() == []


def opened(browser, name: str) -> None:
    """Click a case in the table."""
    buttons = browser.driver.find_elements(By.CSS_SELECTOR, "#cases th .opens")
    next(each for each in buttons if each.text == name).click()


def test_a_picture_beyond_those_of_the_gallery_is_taken_from_beside_the_page(browser, outputs, tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "_PICTURED", 1)
    run = shutil.copytree(outputs / "fake/a/1", tmp_path / "run")
    write_page(run)
    browser.open(run / "report.html")
    last = read_run(run).pictures["figures"][-1]["case_id"]
    assert len(browser.texts("#gallery .figures figure")) == 1
    browser.find("input[type=search]").send_keys(last)
    opened(browser, last)
    browser.appears("#viewer .layered image")
    assert f"{browser.find('#viewer .layered image').get_attribute('href')}" in {
        str(each["file"]) for each in read_run(run).pictures["figures"]
    }
    assert browser.errors() == []


def test_a_served_page_draws_any_case_at_a_click(browser, fakes, outputs, monkeypatch):
    cases = [fakes.make_case(i, f"case_{i:03d}") for i in range(130)]
    monkeypatch.setattr(drawing, "Lab", lambda: fakes.FakeLab(cases, fakes.Threshold()))
    with serving(fakes.config(outputs=str(outputs), report=ReportConfig(port=0))) as port:
        browser.open(f"http://127.0.0.1:{port}/fake/a/1/report.html#case=case_05")
        opened(browser, "case_050")
        browser.wait(lambda: browser.find("#viewer .strip img").get_property("naturalWidth") > 500)
        assert browser.find("#viewer .layered path.target") and browser.find("#viewer .layered path.prediction")
        assert browser.find("#viewer [role=status]").text == "" and browser.errors() == []
        assert {each.split("/")[2] for each in browser.requests() if not each.startswith("data:")} == {
            f"127.0.0.1:{port}"
        }


def test_the_gallery_is_sorted_and_its_layers_are_switched_on_and_off(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    order = Select(browser.find("#gallery select.order"))
    for value, reverse in (("dsc", False), ("-dsc", True)):
        order.select_by_value(value)
        found = [float(each.split("DSC ")[1].split(" ")[0]) for each in browser.texts("#gallery .figures figcaption")]
        assert found == sorted(found, reverse=reverse) and len(found) == 4
    for layer in ("target", "prediction"):
        line = browser.find(f"#gallery .figures path.{layer}")
        assert line.is_displayed()
        browser.find(f"#gallery .layers input[value={layer}]").send_keys(Keys.SPACE)
        assert not line.is_displayed()


def test_strips_are_shown_with_what_they_are(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    entries = [each for each in read_run(outputs / "fake/a/1").pictures["strips"] if "_" not in each["rule"]]
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
    assert {each.split("\n")[0] for each in column(browser, 5)} == labels
    Select(browser.find("select[data-column='4']")).select_by_visible_text("killed")
    assert len(column(browser, 2)) == 1 and column(browser, 3) == ["missing (69/129)"]
    browser.find("#runs input[type=search]").send_keys("slices")
    assert column(browser, 2) == [], "filters combine"


def test_columns_of_the_index_are_chosen_and_a_phone_begins_with_the_score(browser, outputs):
    browser.resize(390, 800)
    browser.open(outputs / "index.html")
    shown = [each for each in browser.texts("#runs thead th") if each]
    assert shown == ["pick", "run", "DSC", "state"]
    score = browser.find("#runs .score").rect
    assert score["x"] + score["width"] <= 390 and score["y"] + score["height"] <= 800
    browser.find("#runs .columns summary").send_keys(Keys.ENTER)
    box = browser.driver.find_elements(By.CSS_SELECTOR, "#runs .columns input")[-1]
    box.send_keys(Keys.SPACE)
    assert browser.texts("#runs thead th")[-1] == "folder"
    assert browser.run("return document.documentElement.scrollWidth") <= 390


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


@pytest.mark.parametrize("width", [1440, 390])
def test_letters_of_the_scatter_lie_in_it_and_apart(browser, outputs, width):
    """On phones, where letters are larger, the title of the axis was cut, and two zeros lay on each other."""
    browser.resize(width, 900)
    comparison(browser, outputs, "fake/a/1", "fake/b/2")
    boxes = browser.run(
        "return [document.querySelector('svg.scatter'), ...document.querySelectorAll('svg.scatter text')]"
        ".map((each) => each.getBoundingClientRect()).map((box) => [box.left, box.top, box.right, box.bottom])"
    )
    (left, top, right, bottom), *texts = boxes
    assert len(texts) > 6
    assert all(left <= x0 and top - 8 <= y0 and x1 <= right + 8 and y1 <= bottom for x0, y0, x1, y1 in texts)
    for i, (x0, y0, x1, y1) in enumerate(texts):
        assert not any(x0 < x3 and x2 < x1 and y0 < y3 - 2 and y2 < y1 - 2 for x2, y2, x3, y3 in texts[:i])


def test_a_poor_run_beside_a_good_one_has_few_ticks_on_the_steps_of_both(browser, outputs):
    comparison(browser, outputs, "fake/a/1", "fake/b/2")
    apart = "[{low: 0, high: 0.006, step: 0.002}, {low: 0.95, high: 0.99, step: 0.01}]"
    ticks = browser.run(f"return joined({apart}).ticks")
    assert ticks == pytest.approx([each / 10 for each in range(11)])
    near = browser.run("return joined([{low: 0.9, high: 0.95, step: 0.01}, {low: 0.92, high: 0.96, step: 0.01}]).ticks")
    assert near == pytest.approx([0.9 + each / 100 for each in range(7)])


def test_a_name_that_turns_letters_round_turns_none_but_its_own(browser, outputs):
    comparison(browser, outputs, "fake/a/1", "fake/b/2")
    assert browser.run("return [apart('a\\u202eb'), apart('010_HC')]") == ["\u2068a\u202eb\u2069", "010_HC"]


def test_on_paper_a_comparison_names_its_runs(browser, outputs):
    comparison(browser, outputs, "fake/a/1", "fake/b/2")
    named = browser.find("#told .printed")
    assert not named.is_displayed()
    browser.emulate(media="print")
    assert "A: fake/a/1" in named.text and "B: fake/b/2" in named.text


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


def test_what_differs_between_two_runs_stands_first(browser, outputs, tmp_path):
    copy = shutil.copytree(outputs, tmp_path / "copy")
    script = copy / "fake/b/2/cases.js"
    told = json.loads(script.read_text().removeprefix("salip.cases(").removesuffix(");\n"))
    told["told"]["settings"]["area.enabled"], told["told"]["sentences"] = "<b>false", ["x", "b"]
    script.write_text(f"salip.cases({json.dumps(told)});")
    ours = copy / "fake/a/1/cases.js"
    ours.write_text(ours.read_text().replace('"sentences":["a disc"]', '"sentences":["x","a"]'))
    browser.open((copy / "compare.html").as_uri() + "#a=fake%2Fa%2F1&b=fake%2Fb%2F2")
    browser.appears("#told tbody tr")
    rows = ["area.enabled true <b>false", "figures worst:2,best:2 worst:2", "sentence a –", "sentence – b"]
    assert browser.texts("#told tbody tr") == rows
    place = "return document.getElementById('told').compareDocumentPosition(document.getElementById('outcome'))"
    assert browser.run(place) == 4, "it comes before what was measured"
    browser.open((copy / "compare.html").as_uri() + "#a=fake%2Fa%2F1&b=fake%2Fa%2F1")
    browser.wait(lambda: browser.find("#told").text == "Nothing in the configuration differs.")


def test_words_that_differ_are_marked_and_more_than_two_runs_stand_beside_the_first(browser, outputs, tmp_path):
    copy = shutil.copytree(outputs, tmp_path / "copy")
    for name, sentence in {"a/1": "an oval ring of bone", "b/2": "a bright ring of bone"}.items():
        script = copy / "fake" / name / "cases.js"
        script.write_text(script.read_text().replace('"sentences":["a disc"]', f'"sentences":["{sentence}"]'))
    browser.open((copy / "compare.html").as_uri() + "#a=fake%2Fa%2F1&b=fake%2Fb%2F2&b=fake%2Fkilled%2F3")
    browser.appears("section[aria-label='all runs beside A'] tbody tr")
    rows = browser.texts("section[aria-label='all runs beside A'] tbody tr")
    assert [each.split(" ")[0] for each in rows] == ["B", "C"]
    assert " 129 " in rows[0] and " 69 " in rows[1]
    assert browser.texts("mark") == ["an", "oval", "a", "bright"]
    assert "Paired test: p < 0.001." in browser.find("#outcome").text
    assert browser.find(".sides img").get_property("naturalWidth") > 0
    browser.driver.find_elements(By.CSS_SELECTOR, "section[aria-label='all runs beside A'] a")[1].click()
    browser.wait(lambda: "n = 69 common" in browser.find("#outcome").text)
    assert browser.errors() == []


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


@pytest.mark.parametrize("width", [390, 1280])
def test_plots_fill_the_page_and_none_is_cut(browser, outputs, width):
    browser.resize(width, 900)
    browser.open(outputs / "stub/tune/default/study.html")
    sizes = browser.run("return [...document.querySelectorAll('.plots svg')].map(each => each.getBoundingClientRect())")
    assert len(sizes) >= 3
    assert all(each["right"] <= width and each["width"] > 0.4 * width for each in sizes)


def test_what_is_only_of_use_on_a_screen_is_not_printed(browser, outputs):
    browser.open(outputs / "fake/a/1/report.html")
    browser.emulate(media="print")
    assert not browser.find(".filters").is_displayed() and not browser.find("#theme").is_displayed()
    assert browser.find("h1").is_displayed() and browser.find("svg.distribution").is_displayed()


def test_nothing_is_cut_on_paper(browser, outputs, page):
    browser.emulate(media="print")
    browser.resize(1032, 800)  # A4 across, less its margins
    browser.open(outputs / page)
    assert browser.run("return document.documentElement.scrollWidth") <= 1032
    broken = browser.run(
        "const lines = (cell) => { const all = document.createRange(); all.selectNodeContents(cell);"
        " return new Set([...all.getClientRects()].map((box) => Math.round(box.bottom))).size; };"
        "return [...document.querySelectorAll('td')].filter((cell) => /^[-−]?[0-9.]+$/.test(cell.textContent.trim())"
        " && lines(cell) > 1).map((cell) => cell.textContent)"
    )
    assert broken == []


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


def test_a_served_page_follows_its_run_and_keeps_what_was_chosen(browser, fakes, outputs, tmp_path):
    copy = shutil.copytree(outputs, tmp_path / "copy")
    run = copy / "fake" / "b" / "2"
    pages = Pages(copy)
    pages.refresh()
    with serving(fakes.config(outputs=str(copy), report=ReportConfig(port=0))) as port:
        browser.open(f"http://127.0.0.1:{port}/fake/b/2/report.html")
        browser.find("input[type=search]").send_keys("case_12")
        head(browser, "case").click()
        browser.find("#theme").click()
        assert len(column(browser, 1)) == 10
        browser.wait(lambda: any("/state" in each for each in browser.requests()))
        browser.wait(lambda: not browser.run("return document.querySelectorAll('.taken a').length"))
        assert "cases.csv" in browser.find(".taken").text  # named, and no link to what is not served
        (run / "summary.json").unlink()
        record_path(run, "case_120").unlink()
        pages.refresh()
        browser.appears("p .damaged")
        browser.wait(lambda: column(browser, 1) == [f"case_{i}" for i in range(121, 130)])
        assert browser.run("return document.documentElement.dataset.theme") == "dark"
        assert browser.errors() == []
