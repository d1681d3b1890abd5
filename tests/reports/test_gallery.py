"""What a page does not show of many pictures: the worst are those that it shows, and the rest is told."""

from __future__ import annotations

import json
import re

from salip_exp._reports import gallery, overlays
from salip_exp._runs.folder import read_pictures, read_run


def test_of_many_pictures_the_worst_are_shown_and_the_others_told(fakes, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "_PICTURED", 2)
    monkeypatch.setattr(overlays, "LAYERED", 3)
    assert fakes.run_fake(tmp_path, figures="all") == 0
    worst = [each.case_id for each in sorted(read_run(tmp_path).records, key=lambda each: each.dsc)]
    drawn = read_pictures(tmp_path)["figures"]
    assert len(drawn) == 12 and worst[:2] != [each["case_id"] for each in drawn][:2]
    assert {each["case_id"] for each in drawn if "outlines" in each} == set(worst[:3])
    page, out = (tmp_path / "report.html").read_text(), capsys.readouterr().out
    cards = json.loads(re.search(r'id="cards-data">(.*?)</script>', page)[1])
    assert {each["case"] for each in cards} == set(worst[:2])
    for said in (page, " ".join(out.split())):
        assert "he gallery has 2 of 12 pictures, those with the lowest DSC: the others lie in figures/" in said
        assert "utlines are switched on and off in 3 of 12 pictures, those with the lowest DSC" in said
        assert "task=explore" in said


def test_a_page_says_how_to_see_the_cases_that_no_rule_took(fakes, tmp_path, capsys):
    assert fakes.run_fake(tmp_path, figures="worst:2") == 0
    page = (tmp_path / "report.html").read_text()
    assert "Pictures of 2 of 12 cases" in page and "figures=all" in page and "task=explore" in page
    assert "gallery has" not in page + capsys.readouterr().out
