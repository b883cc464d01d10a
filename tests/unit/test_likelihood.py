from __future__ import annotations

import pytest

from vilbench.errors import EngineError
from vilbench.scorers.likelihood import LikelihoodScorer, step_means
from vilbench.steps import FORMATS
from vilbench.testing import ScriptedEngine, make_problem, make_solution
from vilbench.types import Span, StepScorer, Token


def tokens(*pieces: tuple[str, float]) -> list[Token]:
    return [Token(text, logprob) for text, logprob in pieces]


def test_means_of_steps() -> None:
    # 0123456789: "ab cd\nef g"
    made = tokens(("ab", -1.0), (" cd", -2.0), ("\n", -9.0), ("ef", -4.0), (" g", -6.0))
    assert step_means(made, [Span(0, 5), Span(6, 10)]) == (-1.5, -5.0)


def test_a_token_that_straddles_goes_where_its_last_visible_character_is() -> None:
    # The line break shares a token with the full stop before it: that is the first step's.
    made = tokens(("one", -1.0), (".\n", -2.0), ("two", -4.0))
    assert step_means(made, [Span(0, 4), Span(5, 8)]) == (-1.5, -4.0)
    # A token over the border of two steps is the second one's.
    made = tokens(("one", -1.0), (".t", -2.0), ("wo", -4.0))
    assert step_means(made, [Span(0, 4), Span(4, 7)]) == (-1.0, -3.0)


def test_a_blank_token_goes_where_its_last_character_is() -> None:
    made = tokens(("a", -1.0), (" \n", -3.0), ("b", -5.0))
    assert step_means(made, [Span(0, 3), Span(3, 4)]) == (-2.0, -5.0)
    assert step_means(made, [Span(0, 2), Span(2, 4)]) == (-1.0, -4.0)


def test_tokens_outside_all_steps_count_nowhere() -> None:
    made = tokens(("Hi", -9.0), ("a", -1.0), ("--", -9.0), ("b", -2.0), ("!", -9.0))
    assert step_means(made, [Span(2, 3), Span(5, 6)]) == (-1.0, -2.0)


def test_a_step_without_a_token_has_no_verdict() -> None:
    made = tokens(("a", -1.0), ("bcd", -2.0))
    assert step_means(made, [Span(0, 1), Span(1, 2), Span(2, 4)]) == (-1.0, None, -2.0)
    assert step_means([], [Span(0, 0)]) == (None,)
    assert step_means(made, []) == ()


def test_parts_of_a_character_go_with_the_one_that_completes_it() -> None:
    made = tokens(("a", -1.0), ("", -2.0), ("", -4.0), ("你", -6.0))
    assert step_means(made, [Span(0, 1), Span(1, 2)]) == (-1.0, -4.0)


async def test_one_request_scores_all_solutions() -> None:
    engine = ScriptedEngine({})
    scorer = LikelihoodScorer(engine, FORMATS["steps-brief"])
    assert isinstance(scorer, StepScorer)
    problem = make_problem()
    solutions = [
        make_solution(problem, 0, "I read 2 and 3.\nThe sum is 5."),
        make_solution(problem, 1, "It is 6."),
        make_solution(problem, 2, "It is 6."),
        make_solution(problem, 3, ""),
    ]
    scores = await scorer.score(problem, solutions)
    assert engine.requests == 1
    assert engine.scored == 3
    assert engine.prompts == [FORMATS["steps-brief"].ask(problem)]
    assert [(s.solution_index, s.scorer, s.granularity) for s in scores] == [
        (k, "likelihood", "step") for k in range(4)
    ]
    assert [len(s.values) for s in scores] == [2, 1, 1, 0]
    assert scores[1].values == scores[2].values
    [whole] = await engine.score_tokens(engine.prompts[0], [solutions[1].text])
    mean = sum(token.logprob for token in whole) / len(whole)
    assert scores[1].values[0] == pytest.approx(mean)
    assert all(value is not None and value < 0 for s in scores for value in s.values)
    assert await scorer.score(problem, []) == []


async def test_a_failed_request_is_an_error() -> None:
    scorer = LikelihoodScorer(ScriptedEngine({}, failures={"": 1}), FORMATS["steps-brief"])
    problem = make_problem()
    with pytest.raises(EngineError):
        await scorer.score(problem, [make_solution(problem)])


def test_the_fingerprint_names_model_and_words() -> None:
    brief, long = FORMATS["steps-brief"], FORMATS["steps"]
    one, two = ScriptedEngine({}, name="one"), ScriptedEngine({}, name="two")
    prints = {
        LikelihoodScorer(engine, words).fingerprint
        for engine in (one, two)
        for words in (brief, long)
    }
    assert len(prints) == 4
    assert LikelihoodScorer(one, brief, name="other").fingerprint in prints
