"""What is said of a set that is empty or tiny."""

from __future__ import annotations

import numpy as np
import pytest
from curate_data import problems, take

from vilbench.curate.advice import FEW, advice
from vilbench.curate.curation import curate
from vilbench.curate.pairs import Pair
from vilbench.curate.records import RuleCard, SourceCard
from vilbench.curate.summary import told
from vilbench.errors import InputError

RULE = RuleCard(splits=2, resamples=5)


def source(problems: int = 100, **fates: int) -> SourceCard:
    kinds = ("chosen", "unjudged", "never_solved", "always_solved", "not_preferred")
    given = {kind: fates.get(kind, 0) for kind in (*kinds, "below_the_cut")}
    return SourceCard(source="s", problems=problems, quota=None, wanting=0, **given)


@pytest.mark.parametrize(
    ("fates", "said"),
    [
        ({"unjudged": 90}, ("vilbench score RUN", "--pair")),
        ({"never_solved": 90}, ("sample more solutions", "-n", "easier problems")),
        ({"always_solved": 90}, ("harder problems", "weaker policy")),
        ({"not_preferred": 90}, ("--rule margin", "--threshold none")),
    ],
)
def test_each_reason_has_its_remedy(fates: dict[str, int], said: tuple[str, ...]) -> None:
    lines = [*advice([source(chosen=3, **fates)], RULE, 8)]
    assert lines[0].startswith("3 problems are too few")
    assert lines[-1].startswith("90 ")
    assert all(part in lines[-1] for part in said)
    assert len(lines) == 3


def test_the_reason_that_costs_most_comes_first_and_rare_ones_are_left_out() -> None:
    some = [source(chosen=2, never_solved=40, always_solved=8), source(not_preferred=90)]
    lines = [line for line in advice(some, RULE, 8) if line[:2].isdigit()]
    assert [line[:2] for line in lines] == ["90", "40"]


def test_nothing_is_said_of_a_set_that_is_large_or_was_to_be_small() -> None:
    assert not [*advice([source(chosen=FEW, not_preferred=70)], RULE, 8)]
    assert not [*advice([source(chosen=5, below_the_cut=95)], RULE, 8)]
    assert [*advice([source(chosen=FEW - 1, not_preferred=70)], RULE, 8)]


def test_more_problems_are_asked_for_where_few_were_looked_at() -> None:
    small = " ".join(advice([source(chosen=5, not_preferred=20)], RULE, 8))
    assert "only 100 problems were looked at" in small
    large = [*advice([source(1000, chosen=5, not_preferred=995)], RULE, 8)]
    assert not any("looked at" in line for line in large)


def test_the_rule_and_the_pools_are_named_as_they_are() -> None:
    rule = RuleCard(rule="margin", threshold=0.5, lowest=0.25, highest=0.75)
    some = [source(never_solved=40, always_solved=30, not_preferred=30)]
    text = " ".join(advice(some, rule, 4))
    assert "--rule margin" not in text
    for part in ("above 0.5", "in more than 25% of", "in at least 75% of", "than 4 (-n)"):
        assert part in text


def test_a_tiny_run_is_told_what_to_do() -> None:
    correct = np.array([[True, False, False, False]] * 3)
    better, worse = np.array([[4.0, 1.0, 1.0, 1.0]] * 3), np.array([[1.0, 4.0, 1.0, 1.0]] * 3)
    pairs = [Pair("a", "a-prm/mean", "a-orm")]
    found = curate(
        [take(problems(3), correct, {"a-prm": better, "a-orm": worse})], pairs, RULE, "x"
    )
    lines = [line for line in told(found.card) if line.startswith("advice: ")]
    assert "3 problems are too few" in lines[0]
    with pytest.raises(InputError, match=r"no problem can be chosen: .*3 do not prefer .*--rule"):
        curate([take(problems(3), correct, {"a-prm": worse, "a-orm": better})], pairs, RULE, "x")
