from __future__ import annotations

import dataclasses
import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from embedded_data import TINY, processor, tiny_model
from safetensors.torch import load_file

from vilbench.backbone.checkpoint import load
from vilbench.engines.local import LocalEngine
from vilbench.problems.puzzles import check, draw
from vilbench.problems.puzzles.canvas import Canvas
from vilbench.problems.puzzles.puzzle import contents, split_of
from vilbench.training.embedded import architecture, recipe
from vilbench.training.embedded.examples import Attempt, Example, corrupt
from vilbench.training.embedded.loop import ROUND, Plan
from vilbench.types import BytesSource, Completion, Image, Sampling


@pytest.fixture
def short_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that has learnt nothing would ramble on, and would not stop by itself."""
    generate = LocalEngine.generate

    async def stopped(*arguments: Any) -> list[Completion]:
        completions = await generate(*arguments)
        return [dataclasses.replace(one, finish_reason="stop") for one in completions[:-1]] + [
            dataclasses.replace(completions[-1], finish_reason="length")
        ]

    monkeypatch.setattr(LocalEngine, "generate", stopped)
    monkeypatch.setattr(recipe, "Sampling", lambda max_tokens: Sampling(max_tokens=12))


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Canvas, "png", lambda _: b"picture")


def test_plans_are_whole_rounds_with_names_of_their_own() -> None:
    plans = [recipe.ALIGN, recipe.FIRST, *recipe.SECOND.values(), *recipe.THIRD.values()]
    plans += [recipe.SEE, recipe.FOURTH]
    assert len({plan.name for plan in plans}) == len(plans) == 8
    assert all(plan.steps % ROUND == 0 for plan in plans)
    assert all(plan.rates[0] > plan.rates[1] > 0 for plan in plans)


def test_the_stage_before_shows_pictures_and_nothing_else(no_picture: None) -> None:
    rng = random.Random(1)
    drawn = [recipe.draw_align(rng, 0.5) for _ in range(100)]
    assert {example.task for example in drawn} == {"caption"}
    assert len({example.family for example in drawn}) == 5
    assert {split_of(example.content) for example in drawn} == {"train"}


def test_the_first_stage_fades_judging_in(no_picture: None) -> None:
    def tasks(share: float) -> Counter[str]:
        rng = random.Random(2)
        return Counter(recipe.draw_first(rng, share).task for _ in range(250))

    early, late = tasks(0.0), tasks(0.99)
    assert early.keys() == late.keys() == {"solve", "caption", "judge-step", "judge-whole"}
    assert late["judge-step"] + late["judge-whole"] > early["judge-step"] + early["judge-whole"]
    assert early["solve"] > late["solve"] > 100


def test_the_second_stage_learns_from_own_attempts(no_picture: None) -> None:
    own = [Attempt(draw("angles", "text", "train", k), "Step 1: hm\nAnswer: 0") for k in range(9)]
    rng = random.Random(3)
    drawn = [recipe.draw_second(own, rng) for _ in range(250)]
    judging = [example for example in drawn if example.task.startswith("judge")]
    assert 0.25 < len(judging) / 250 < 0.45
    theirs = [example for example in judging if "Step 1: hm" in str(example.prompt.parts[-1])]
    assert 0.55 < len(theirs) / len(judging) < 0.85
    solved = [example for example in drawn if example.task == "solve"]
    assert 0.3 < sum("Step 1: hm" in example.reply for example in solved) / len(solved) < 0.6
    assert Counter(example.task for example in judging)["judge-whole"] > 20


def test_the_last_stage_learns_from_right_solutions_most(no_picture: None) -> None:
    own = [Attempt(draw("angles", "text", "train", k), "Step 1: hm\nAnswer: 0") for k in range(9)]
    rng = random.Random(5)
    drawn = [recipe.draw_third(own, rng) for _ in range(250)]
    right = [one for one in drawn if one.task == "solve" and whole(one)]
    assert 0.5 < len(right) / 250 < 0.75
    assert Counter(one.task for one in drawn).keys() >= {"caption", "judge-step", "judge-whole"}


def test_base_learns_where_things_are_and_which_option_says_what(no_picture: None) -> None:
    rng = random.Random(6)
    drawn = [recipe.draw_see(rng, 0.5) for _ in range(200)]
    families = Counter(example.family for example in drawn)
    assert families.keys() == {"spatial", "counting", "options"}
    assert min(families.values()) > 20
    assert {split_of(example.content) for example in drawn} == {"train"}


def test_the_fourth_stage_reads_fewer_spoilt_texts_as_it_goes_on(no_picture: None) -> None:
    own = [Attempt(draw("angles", "text", "train", k), "Step 1: hm\nAnswer: 0") for k in range(9)]

    def spoilt(share: float) -> int:
        rng = random.Random(7)
        drawn = [recipe.draw_fourth(own, rng, share) for _ in range(300)]
        tasks = Counter(one.task for one in drawn)
        assert min(tasks["judge-step"], tasks["judge-whole"], tasks["solve"]) > 10
        assert any(one.family == "options" for one in drawn)
        unknown = [one.solution for one in drawn if one.solution and not one.solution.marks]
        return sum("hm" not in solution.text for solution in unknown)

    assert 0.25 * 300 < spoilt(0.0) < 0.6 * 300
    assert spoilt(0.0) > 1.5 * spoilt(0.99) > 20


def whole(example: Example) -> bool:
    return example.solution is not None and example.solution.right_until == len(example.reply)


def test_made_up_solutions_are_right_now_and_then(no_picture: None) -> None:
    rng = random.Random(4)
    puzzle = draw("machines", "text", "train", 1)
    sound = Counter(
        all(step.sound for step in check(puzzle.problem, text.split("\n")))
        for text in (recipe.made_up(puzzle, rng).text for _ in range(200))
    )
    assert 40 < sound[True] < 100


def test_what_training_has_seen_is_held_against_the_other_splits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = {split: list(contents(split, 9)) for split in ("dev", "test", "train")}
    monkeypatch.setattr(recipe, "contents", lambda split, _: iter(held[split]))
    recipe.check_apart(set(held["train"]))
    for split in ("dev", "test"):
        with pytest.raises(AssertionError, match=f"the {split} split were seen in training"):
            recipe.check_apart({*held["train"], held[split][-1]})


def test_the_whole_recipe_on_a_small_scale(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(architecture.SHAPES, "small", TINY)
    monkeypatch.setitem(architecture.SHAPES, "base", TINY._replace(layers=TINY.layers + 1))
    monkeypatch.setattr(recipe, "processor_for", processor)
    plan = Plan("tiny", ROUND, 2, (1e-3, 1e-4), warm_up=False)
    monkeypatch.setattr(recipe, "ALIGN", plan._replace(name="align"))
    monkeypatch.setattr(recipe, "FIRST", plan._replace(name="first"))
    monkeypatch.setattr(recipe, "SECOND", {"small": plan, "base": plan})
    third = plan._replace(name="third")
    monkeypatch.setattr(recipe, "THIRD", {"small": third, "base": third})
    monkeypatch.setattr(recipe, "SEE", plan._replace(name="see"))
    monkeypatch.setattr(recipe, "FOURTH", plan._replace(name="fourth"))
    monkeypatch.setattr(recipe, "own_attempts", lambda *_: list(some_attempts()))
    monkeypatch.setattr(recipe, "contents", lambda split, _: contents(split, 9))
    for size in ("small", "base"):
        recipe.train_size(size, tmp_path)
        assert f"{size}: " in capsys.readouterr().out
    finals = [tmp_path / size / "final" for size in ("small", "base")]
    weights = [load_file(folder / "model.safetensors") for folder in finals]
    # Half the bytes of the trunk, which both have begun with.
    trunk = load_file(tmp_path / "trunk" / "first" / "model.safetensors")
    assert {tensor.dtype for tensor in trunk.values()} == {torch.float32}
    assert {tensor.dtype for final in weights for tensor in final.values()} == {torch.bfloat16}
    assert trunk.keys() == weights[0].keys() < weights[1].keys()
    loaded = load(finals[1], device="cpu")
    assert loaded.model.dtype == torch.float32
    assert loaded.model.config.text_config.num_hidden_layers == TINY.layers + 1

    # Once more: everything is there already, the same comes out.
    shutil.rmtree(finals[1])
    recipe.train_size("base", tmp_path)
    again = load_file(finals[1] / "model.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in weights[1].items())


def some_attempts() -> Iterator[Attempt]:
    rng = random.Random(8)
    for index in range(6):
        yield corrupt(draw("charts", "visual", "train", index), rng)


def test_attempts_are_the_models_own(tmp_path: Path, short_attempts: None) -> None:
    checkpoint = tmp_path / "model"
    tiny_model(1).save_pretrained(checkpoint)
    processor().save_pretrained(checkpoint)
    one = recipe.own_attempts(checkpoint, tmp_path, 2, 3)
    # Two of three: what was cut short is no solution.
    assert len(one) == 4 and len({attempt.text for attempt in one}) > 1
    (tmp_path / "other").mkdir()
    two = recipe.own_attempts(checkpoint, tmp_path / "other", 2, 3)
    assert [attempt.text for attempt in one] == [attempt.text for attempt in two]
    assert not list(tmp_path.rglob("*.part"))
    picture = one[0].puzzle.problem.images[0]
    assert picture == Image.of(BytesSource(picture.read()))
