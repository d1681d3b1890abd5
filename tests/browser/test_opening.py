"""Every page opens from the file system: nothing is asked of a network, and nothing goes wrong."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.ci


def test_a_page_opens_without_errors_and_asks_for_local_files_alone(browser, outputs, page):
    browser.open(outputs / page)
    browser.appears("h1")
    assert browser.errors() == []
    asked = browser.requests()
    assert asked[0].startswith("file://") and {each.partition(":")[0] for each in asked} <= {"file", "data"}
    assert browser.run("return document.documentElement.lang") == "en"
    assert browser.find("#theme").is_displayed(), "the script ran to its end"
