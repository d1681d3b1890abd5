"""What is given in Python arrives as it was given."""

from __future__ import annotations

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from salip_exp.api._overrides import configured, of_organ, text_of

ODD = [
    "null",
    "True",
    "a'b",
    "a\\",
    "\\'",
    "\\\\'",
    "a, b",
    "[x]",
    "{a}",
    "$x",
    "1",
    "1e3",
    "",
    " a ",
    "~",
    "a=b",
    "'\\",
    "${seed}",
    "a \\${seed}",
    "\\\\${seed}'",
    "${",
]
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=12) | st.sampled_from(ODD)
PLAIN = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | TEXTS


@given(st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3)))
def test_hydra_reads_what_was_given(value: object) -> None:
    read = OverridesParser.create().parse_override(f"key={text_of(value)}").value()
    assert OmegaConf.to_container(OmegaConf.create({"key": read}), resolve=True) == {"key": value}


def test_a_sentence_is_never_taken_for_a_reference() -> None:
    assert configured(of_organ(None, ["${seed}", "{a} ${oc.env:HOME}"], {})).vdt.sentences == [
        "${seed}",
        "{a} ${oc.env:HOME}",
    ]
