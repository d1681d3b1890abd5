"""The top of a run's page and the end of its output say the same."""

from __future__ import annotations

from salip_exp._reports.headline import headline, verdict


def estimate(mean: float | None, n: int = 6) -> dict:
    return {"n": n, "missing": 0, "mean": mean, "sd": 0.1, "low": 0.7, "high": 0.95, "interval": "cases"}


def summary(**overall: object) -> dict:
    part = {"cases": 12, "subjects": None, "dsc": estimate(0.9, 12), "statuses": {"ok": 12}, "flagged": {"clip": 3}}
    part |= {"losses": {"prompt": 0.02, "clip": 0.08}}
    return {"overall": part | overall, "groups": {"a": {"dsc": estimate(0.95)}, "b": {"dsc": estimate(0.85)}}}


def test_figures_and_sentence_hold_score_worst_group_flags_and_loss() -> None:
    found = [(each.label, each.value, each.detail) for each in headline(summary())]
    assert found == [
        ("DSC", "0.900", "[0.700, 0.950] n = 12"),
        ("worst group", "0.850", "b, n = 6"),
        ("flagged", "25 %", "3 of 12"),
        ("lost most", "clip", "0.080 of 0.100 DSC"),
    ]
    assert verdict(summary()) == (
        "DSC 0.900 [0.700, 0.950], n = 12; worst group 0.850 (b, n = 6); flagged 25 % (3 of 12); "
        "lost most clip (0.080 of 0.100 DSC)"
    )


def test_failed_cases_are_counted_and_what_is_not_known_is_left_out() -> None:
    given = summary(statuses={"ok": 10, "failed(E_READ)": 2}, flagged=None, losses={})
    given["groups"] = {"a": given["groups"]["a"]}
    assert [each.label for each in headline(given)] == ["DSC", "failed"]
    assert headline(given)[-1].value == "2" and headline(given)[-1].bad


def test_without_targets_confidence_stands_first() -> None:
    given = summary(stability=estimate(0.8), losses={}) | {"doubt": "stability"}
    assert [each.label for each in headline(given)] == ["stability", "flagged"]
    assert verdict(given).startswith("stability 0.800 on 12 cases, not scored; flagged 25 %")
