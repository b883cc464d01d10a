import asyncio
import io
import pickle
import subprocess
import sys
import time

import pytest
from PIL import Image as PillowImage

from vilbench.errors import EngineError
from vilbench.testing import (
    ScriptedEngine,
    TableScorer,
    make_problem,
    make_solution,
    prompt_text,
    scripted_completion,
    tiny_png,
)
from vilbench.types import (
    BytesSource,
    Completion,
    Generator,
    Image,
    LikelihoodModel,
    Prompt,
    Sampling,
    StepScorer,
)

ASK = Prompt(("How many cubes are left?",))


def test_fakes_fulfil_the_protocols() -> None:
    engine = ScriptedEngine({"": ["yes"]})
    assert isinstance(engine, Generator)
    assert isinstance(engine, LikelihoodModel)
    assert isinstance(TableScorer("t", "step", {}), StepScorer)


async def test_replies_follow_the_index_and_start_over() -> None:
    engine = ScriptedEngine({"cubes": ["a", "b", "c"]})
    together = await engine.generate(ASK, 5, Sampling(), seed=1)
    assert [completion.text for completion in together] == ["a", "b", "c", "a", "b"]
    late = await engine.generate(ASK, 2, Sampling(), seed=1, first=3)
    assert late == together[3:5]
    assert engine.requests == 2
    assert engine.completions == 7
    assert await engine.generate(ASK, 0, Sampling(), seed=1) == []


async def test_longest_key_wins_and_a_gap_in_the_script_is_told() -> None:
    engine = ScriptedEngine({"cubes": ["short"], "How many cubes": ["long"]})
    assert (await engine.generate(ASK, 1, Sampling(), 0))[0].text == "long"
    with pytest.raises(LookupError, match="spheres"):
        await engine.generate(Prompt(("spheres",)), 1, Sampling(), 0)


async def test_keys_are_found_in_system_and_prefill() -> None:
    engine = ScriptedEngine({"be strict": ["s"], "Overall": ["o"]})
    assert (await engine.generate(Prompt(("x",), system="be strict"), 1, Sampling(), 0))[
        0
    ].text == "s"
    assert (await engine.generate(Prompt(("x",), prefill="Overall"), 1, Sampling(), 0))[
        0
    ].text == "o"


async def test_function_script_sees_prompt_and_index() -> None:
    engine = ScriptedEngine(lambda prompt, index: f"{prompt_text(prompt).strip()} {index}")
    said = await engine.generate(Prompt(("q",)), 2, Sampling(), 0, first=4)
    assert [completion.text for completion in said] == ["q 4", "q 5"]


async def test_max_tokens_and_stop_cut_the_text() -> None:
    engine = ScriptedEngine({"": ["Step 1: 12 cubes.\nAnswer: 12"]})
    (cut,) = await engine.generate(ASK, 1, Sampling(max_tokens=4), 0)
    assert cut.text == "Step 1:"
    assert cut.finish_reason == "length"
    assert cut.usage.completion_tokens == 4
    (stopped,) = await engine.generate(ASK, 1, Sampling(stop=("Answer", "cubes")), 0)
    assert stopped.text == "Step 1: 12 "
    assert stopped.finish_reason == "stop"
    assert "".join(token.text for token in stopped.tokens) == stopped.text
    assert [token.text for token in stopped.tokens][-3:] == ["1", "2", " "]


async def test_log_probabilities_agree_between_generating_and_scoring() -> None:
    engine = ScriptedEngine({"": ["Answer: 12"]})
    (said,) = await engine.generate(ASK, 1, Sampling(top_logprobs=5), 0)
    same, other = await engine.score_tokens(ASK, ["Answer: 12", "Answer: 13"])
    assert [token.logprob for token in same] == [token.logprob for token in said.tokens]
    assert all(-2 <= token.logprob < 0 for token in same)
    assert said.tokens[0].top == {"Answer": said.tokens[0].logprob}
    assert [token.logprob for token in other][:-1] == [token.logprob for token in same][:-1]
    assert other[-1].logprob != same[-1].logprob
    image = Image.of(BytesSource(tiny_png()))
    (seen,) = await engine.score_tokens(Prompt((*ASK.parts, image)), ["Answer: 12"])
    assert seen[0].logprob != same[0].logprob
    assert engine.scored == 3


async def test_a_completion_is_given_verbatim() -> None:
    scored = scripted_completion(
        "4 of 5. Overall Score: 4", {"4": {"4": -0.2, "5": -1.8}}, finish_reason="length"
    )
    assert scored.tokens[-1].top == {"4": -0.2, "5": -1.8}
    assert scored.tokens[-1].logprob == -0.2
    assert scored.tokens[0].top == {}
    engine = ScriptedEngine({"": [scored, Completion("", "error")]})
    assert await engine.generate(ASK, 2, Sampling(max_tokens=1), 0) == [
        scored,
        Completion("", "error"),
    ]
    with pytest.raises(ValueError, match="'7'"):
        scripted_completion("Overall Score: 4", {"7": {"7": -1.0}})


async def test_failures_come_as_often_as_scripted_and_only_where_scripted() -> None:
    engine = ScriptedEngine({"": ["fine"]}, failures={"cubes": 2})
    for _ in range(2):
        with pytest.raises(EngineError, match="cubes"):
            await engine.generate(ASK, 1, Sampling(), 0)
    assert (await engine.generate(ASK, 1, Sampling(), 0))[0].text == "fine"
    assert (await engine.generate(Prompt(("cones",)), 1, Sampling(), 0))[0].text == "fine"
    assert engine.requests == 4
    assert engine.completions == 2


async def test_requests_overlap_and_take_their_time() -> None:
    engine = ScriptedEngine({"": ["x"]}, latency=0.05)
    begin = time.perf_counter()
    await asyncio.gather(*(engine.generate(ASK, 1, Sampling(), 0) for _ in range(8)))
    assert time.perf_counter() - begin > 0.04
    assert engine.most_in_flight == 8


def test_fingerprints_tell_scripts_apart_and_survive_pickling() -> None:
    engine = ScriptedEngine({"a": ["1"]})
    assert pickle.loads(pickle.dumps(engine)).fingerprint == engine.fingerprint  # noqa: S301
    assert ScriptedEngine({"a": ["2"]}).fingerprint != engine.fingerprint
    assert ScriptedEngine({"a": ["1"]}, name="other").fingerprint != engine.fingerprint
    table = TableScorer("t", "solution", {("p0", 0): [1.0]})
    assert pickle.loads(pickle.dumps(table)).fingerprint == table.fingerprint  # noqa: S301
    assert TableScorer("t", "solution", {("p0", 0): [2.0]}).fingerprint != table.fingerprint


async def test_hostile_text_is_quick() -> None:
    for text in (" " * 100_000, "a" * 100_000, "\ud800<script>" * 8_000, "1" * 100_000):
        engine = ScriptedEngine({"": [text]})
        begin = time.process_time()
        (said,) = await engine.generate(ASK, 1, Sampling(max_tokens=10**6), 0)
        assert said.text == text
        assert time.process_time() - begin < 2


async def test_table_scorer_looks_up_and_has_no_verdict_elsewhere() -> None:
    problem = make_problem()
    solutions = [make_solution(problem, i) for i in range(2)]
    scorer = TableScorer("t", "step", {("p0", 0): [4.0, None, 2.0]})
    first, second = await scorer.score(problem, solutions)
    assert first.values == (4.0, None, 2.0)
    assert second.values == (None, None, None)
    assert (first.problem_id, second.solution_index, first.scorer) == ("p0", 1, "t")
    whole = TableScorer("orm", "solution", {})
    assert [scores.values for scores in await whole.score(problem, solutions)] == [(None,)] * 2
    assert scorer.scored == 2
    with pytest.raises(ValueError, match="2 values for solution 0 of problem 'p0'"):
        await TableScorer("t", "step", {("p0", 0): [1.0, 2.0]}).score(problem, solutions)


def test_factories() -> None:
    problem = make_problem(id="p7", answer="9")
    assert problem.id == "p7"
    solution = make_solution(problem, 3, "one\n\n  two \nthree", answer="9", seed=5)
    assert solution.step_texts() == ("one", "  two ", "three")
    assert (solution.verdict, solution.seed, solution.index) == ("correct", 5, 3)
    assert make_solution(problem, answer="8").verdict == "wrong"
    assert make_solution(problem).verdict == "unparsed"
    assert make_solution(problem, verdict="failed").verdict == "failed"


def test_tiny_png_is_a_readable_image() -> None:
    data = tiny_png("#00ff00", (3, 2))
    with PillowImage.open(io.BytesIO(data)) as image:
        assert image.size == (3, 2)
        assert image.format == "PNG"
        assert image.getpixel((0, 0)) == (0, 255, 0)
    assert tiny_png("red") != tiny_png("blue")


def test_import_loads_no_test_framework_and_no_torch() -> None:
    code = (
        "import sys, vilbench.testing; "
        "print([m for m in ('pytest', 'hypothesis', 'torch', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
