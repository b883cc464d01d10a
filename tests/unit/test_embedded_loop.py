from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from embedded_data import examples, processor, tiny_model

from vilbench.problems.puzzles import draw
from vilbench.training.embedded import loop
from vilbench.training.embedded.batch import Collator
from vilbench.training.embedded.examples import Example, gold, solve, spoil
from vilbench.training.embedded.loop import ROUND, WARM_UP, Learner, Plan, learning_rate, train

PLAN = Plan("stage", 2 * ROUND, 2, (2e-3, 1e-3), warm_up=True)


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """Sums in one order, so that two trainings can be equal to the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def learner(seed: int = 0) -> Learner:
    torch.manual_seed(seed)
    return Learner(tiny_model(seed))


def captions() -> list[Example]:
    """The short ones of the examples."""
    return [example for example in examples() if example.task == "caption"]


def from_stream(rng: random.Random, share: float) -> Example:
    return rng.choice(short())


def weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def short() -> list[Example]:
    """The short ones and a few solutions, right and wrong."""
    return captions() + [one for one in examples() if one.task == "solve"][:4]


class StoppedError(Exception):
    pass


def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = learner(1)
    begun = weights(whole)
    seen = train(whole, processor(), PLAN, from_stream, tmp_path / "whole", print)
    expected = weights(whole)
    assert all(not torch.equal(begun[name], expected[name]) for name in expected)

    def breaks_in_the_second_round(rng: random.Random, share: float) -> Example:
        if share >= 0.5:
            raise StoppedError
        return from_stream(rng, share)

    broken = tmp_path / "broken"
    with pytest.raises(StoppedError):
        train(learner(1), processor(), PLAN, breaks_in_the_second_round, broken, print, 1)
    # What a kill in the middle of writing leaves behind is never read.
    (broken / "stage.state.part").write_bytes(b"half")
    other = learner(2)
    assert train(other, processor(), PLAN, from_stream, broken, print, 1) == seen
    for name, tensor in weights(other).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_finished_stage_is_taken_from_its_state(tmp_path: Path) -> None:
    model = learner(1)
    seen = train(model, processor(), PLAN, from_stream, tmp_path, print)
    again = learner(2)
    assert train(again, processor(), PLAN, from_stream, tmp_path, print) == seen
    for name, tensor in weights(again).items():
        assert torch.equal(tensor, weights(model)[name])
    # Another stage begins from the weights it is given.
    third = learner(3)
    train(third, processor(), PLAN._replace(name="next"), from_stream, tmp_path, print)
    assert any(
        not torch.equal(tensor, weights(model)[name]) for name, tensor in weights(third).items()
    )


def test_the_stream_depends_on_stage_and_round_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        loop, "_step", lambda _learner, batch, *_: loop._Loss([0.0] * len(batch.tasks), 0.0, 0.0)
    )

    def told(name: str, folder: str) -> list[tuple[float, str]]:
        drawn: list[tuple[float, str]] = []

        def listening(rng: random.Random, share: float) -> Example:
            example = from_stream(rng, share)
            drawn.append((share, example.reply))
            return example

        plan = PLAN._replace(name=name)
        train(learner(), processor(), plan, listening, tmp_path / folder, print)
        return drawn

    one = told("a", "x")
    assert one == told("a", "y")
    assert one != told("b", "x")
    assert len(one) == PLAN.steps * PLAN.batch_size
    assert sorted({share for share, _ in one}) == [0.0, 0.5]


def test_it_learns_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = captions()[:2]
    said: list[str] = []
    monkeypatch.setattr(loop, "ROUND", 4)
    plan = Plan("stage", 40, 2, (5e-3, 2e-3), warm_up=False)
    train(learner(), processor(), plan, lambda rng, _: rng.choice(pair), tmp_path, said.append)
    assert len(said) == 2
    assert said[0].startswith("stage step 20/40 ") and " seq/s {" in said[0]
    task = f"caption/{pair[0].family}"
    losses = [float(line.split(f'"{task}": ')[1].split(",")[0].rstrip("}")) for line in said]
    assert losses[1] < 0.8 * losses[0]


def test_nothing_of_another_split_is_learnt(tmp_path: Path) -> None:
    held_out = solve(gold(draw("angles", "text", "test", 0), random.Random(0)))
    with pytest.raises(AssertionError, match="another split"):
        train(learner(), processor(), PLAN, lambda *_: held_out, tmp_path, print)
    assert not list(tmp_path.glob("*.safetensors"))


def test_steps_come_in_rounds(tmp_path: Path) -> None:
    plan = PLAN._replace(steps=ROUND + 1)
    with pytest.raises(ValueError, match="'stage' has 9 steps, no multiple of 8"):
        train(learner(), processor(), plan, from_stream, tmp_path, print)


def test_learning_rate() -> None:
    plan = Plan("p", 400, 1, (1.0, 0.2), warm_up=False)
    assert learning_rate(plan, 0) == 1.0
    assert learning_rate(plan, 200) == pytest.approx(0.6)
    assert learning_rate(plan, 400) == pytest.approx(0.2)
    warm = plan._replace(warm_up=True)
    assert learning_rate(warm, 0) == pytest.approx(1 / WARM_UP)
    assert learning_rate(warm, 74) == pytest.approx(learning_rate(plan, 74) * 0.5)
    assert learning_rate(warm, WARM_UP) == learning_rate(plan, WARM_UP)


def test_the_head_learns_where_a_solution_goes_wrong(tmp_path: Path) -> None:
    wrong = [
        one
        for one in examples()
        if one.solution and one.solution.right_until < len(one.solution.text)
    ][:2]
    said: list[str] = []
    plan = Plan("stage", 80, 2, (5e-3, 2e-3), warm_up=False)
    train(learner(), processor(), plan, lambda rng, _: rng.choice(wrong), tmp_path, said.append)
    first, last = (float(line.split('"sense": ')[1].split(",")[0].rstrip("}")) for line in said)
    assert last < 0.7 * first


def test_the_other_head_learns_how_surprising_tokens_are(tmp_path: Path) -> None:
    rng = random.Random(4)
    some = [one for one in examples() if one.task == "solve"][:4]
    spoilt = [spoil(one, rng) for one in some]
    said: list[str] = []
    plan = Plan("stage", 160, 4, (5e-3, 2e-3), warm_up=False)
    torch.manual_seed(1)
    model = Learner(tiny_model(1), early=1)
    train(model, processor(), plan, lambda rng, _: rng.choice(some + spoilt), tmp_path, said.append)
    shares = [float(line.split('"surprise": ')[1].split(",")[0].rstrip("}")) for line in said]
    # A constant leaves all of the variance unexplained.
    assert shares[0] > 0.9 > 0.85 > shares[-1]
    assert model.surprise is not None and model.surprise.weight.abs().sum() > 0


def test_the_inner_layer_is_read_as_the_last_one_is() -> None:
    batch = Collator(processor()).collate(captions()[:2])
    model = Learner(tiny_model(1), early=2).eval()  # of two layers
    with torch.no_grad():
        last, inner = model.hidden(batch)
        assert inner is not None and torch.equal(last, inner)
        last, inner = Learner(model.model, early=1).hidden(batch)
        assert inner is not None and not torch.equal(last, inner)
        again, none = Learner(model.model).hidden(batch)
    assert none is None and torch.equal(again, last)
    assert not model.model.model.language_model.layers[0]._forward_hooks
