from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vilbench.display import numerals
from vilbench.display.text import NAME_LIMIT, name, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "␛[31mred␛[0m"),
        ("a\x00b", "a␀b"),
        ("a\x7fb", "a␡b"),
        ("a\x9b31mb", "a⟨U+009B⟩31mb"),
        ("invoice\u202egnp.exe", "invoice⟨U+202E⟩gnp.exe"),
        ("\u2066x\u2069", "⟨U+2066⟩x⟨U+2069⟩"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("soft\u00adhyphen", "soft⟨U+00AD⟩hyphen"),
        ("line\u2028para\u2029", "line⟨U+2028⟩para⟨U+2029⟩"),
        ("lone\ud800surrogate", "lone⟨U+D800⟩surrogate"),
        ("tag\U000e0041", "tag⟨U+E0041⟩"),
        ("\u3164", "⟨U+3164⟩"),
        ("a\tb\r\nc\rd", "a␉b␍␊c␍d"),
        ("Größe 3² ≤ 漢字 😀 é", "Größe 3² ≤ 漢字 😀 é"),
        ("<b>&amp;</b>", "<b>&amp;</b>"),
    ],
)
def test_what_has_no_glyph_is_shown_as_a_sign(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_are_kept_on_request_and_a_lone_return_is_not_a_line() -> None:
    assert visible("a\r\nb\n\tc\rd", lines=True) == "a\nb\n\tc␍d"


def test_what_is_cut_is_counted() -> None:
    assert visible("x" * 12, 10) == "x" * 10 + "… (2 more characters)"
    assert visible("x" * 10, 10) == "x" * 10
    assert visible("y" * 5000, 0) == "… (5,000 more characters)"
    assert name("n" * 100_000) == "n" * NAME_LIMIT + "… (99,920 more characters)"


@settings(deadline=None)
@given(st.text(st.characters(codec=None)))
def test_nothing_invisible_survives(text: str) -> None:
    shown = visible(text)
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    assert not [c for c in shown if unicodedata.category(c) in hidden]
    shown.encode("utf-8")


@settings(deadline=None)
@given(
    st.text(
        st.characters(
            categories=["L", "N", "P", "S", "Zs"],
            exclude_characters="\u115f\u1160\u3164\uffa0\u2800",
        )
    )
)
def test_plain_text_is_untouched(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize("piece", ["a", "\x1b", "\u202e", "\r\n", "<script>"])
def test_long_text_is_quick(piece: str) -> None:
    start = time.process_time()
    visible(piece * 100_000, lines=True)
    assert time.process_time() - start < 1


def test_numbers_are_written_one_way() -> None:
    assert numerals.percent(0.4271) == "42.7"
    assert numerals.percent(1.0) == "100.0"
    assert numerals.percent(None) == numerals.percent(float("nan")) == "–"
    assert numerals.percent_range(0.381, 0.4704) == "38.1 – 47.0"
    assert numerals.percent_range(None, None) == numerals.points_range(None, None) == "–"
    assert numerals.points(0.033) == "+3.3"
    assert numerals.points(-0.0049) == "−0.5"
    assert numerals.points(-0.0001) == numerals.points(0.0001) == "0.0"
    assert numerals.points(None) == "–"
    assert numerals.points_range(-0.02, 0.044) == "−2.0 to +4.4"
    assert numerals.p_value(0.00049) == "< 0.001"
    assert numerals.p_value(0.0412) == "0.041"
    assert numerals.p_value(None) == "–"
    assert numerals.auroc(0.61249) == "0.612"
    assert numerals.count(1234567) == "1,234,567"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (4.0, "4"),
        (0.0, "0"),
        (-3.0, "−3"),
        (3.617, "3.62"),
        (-0.8754, "−0.88"),
        (0.00412, "0.0041"),
        (float("nan"), "nan"),
        (float("-inf"), "−inf"),
        (1e300, "1e+300"),
    ],
)
def test_scores_keep_their_scale(value: float, shown: str) -> None:
    assert numerals.score(value) == shown
