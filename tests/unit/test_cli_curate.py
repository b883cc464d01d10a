"""`vilbench curate` in this process, and what a run over the set says of its scorers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from vilbench import config
from vilbench.cli import job, main
from vilbench.config.curating import CurateRecipe, load_curating, scorer_fingerprints
from vilbench.curate import folder, kinship
from vilbench.curate.records import Curated
from vilbench.errors import InputError, RecipeError
from vilbench.evaluate.origins import CURATED
from vilbench.evaluate.results import Results
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.problems import own, prepared
from vilbench.problems.puzzles import puzzles
from vilbench.recipes import shipped
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_solution
from vilbench.types import Granularity, StepScores

RECIPE = """\
name: tiny
problems: {source: puzzles, split: dev, limit: 40}
sample: {engine: {kind: local, model: "embedded:small"}, n: 6}
scorers:
  - &judge
    {kind: judge, name: judge-orm, granularity: solution,
     engine: {kind: local, model: "embedded:base"}}
  - {<<: *judge, name: judge-prm, granularity: step}
  - {kind: prm, name: prm, model: some/folder, chosen:
     {aggregation: mean, problem_set: "puzzles:dev", n_problems: 4, n: 2, seed: 0}}
"""
SCORERS: dict[str, Granularity] = {"judge-orm": "solution", "judge-prm": "step", "prm": "step"}


def stored(place: Path, text: str = RECIPE, seed: int = 0) -> Path:
    """A run of 40 puzzles x 6 whose judge knows a little by steps and nothing by the whole."""
    recipe = config.parse_text(text, "recipe")
    manifest = Manifest.of("tiny", recipe.identity(), seed=0, problem_set="puzzles:dev")
    drawn = [one.problem for one in puzzles("dev", 40)]
    rng = np.random.default_rng(seed)
    with Run.open(place, manifest) as run:
        run.add_problems(drawn)
        job.note_command(run, recipe, "vilbench run")
        note_sampling(run, "drawn", 6, "small")
        for problem in drawn:
            right = rng.random(6) < 0.5
            answers = [problem.answer if one else "none of it" for one in right]
            run.put_solutions(
                "drawn",
                [make_solution(problem, at, answer=answer) for at, answer in enumerate(answers)],
            )
            for name, granularity in SCORERS.items():
                steps = 3 if granularity == "step" else 1
                told = 1 + 4 * rng.random((6, steps)) * (0.5 + 0.5 * right[:, None])
                run.put_scores(
                    f"by {name}",
                    [
                        StepScores(
                            problem_id=problem.id,
                            solution_index=at,
                            scorer=name,
                            granularity=granularity,
                            values=tuple(float(value) for value in row),
                        )
                        for at, row in enumerate(
                            told if name != "judge-orm" else rng.random((6, 1))
                        )
                    ],
                )
        for name in SCORERS:
            note_scoring(run, name, f"by {name}", "drawn")
    return place


class Said(NamedTuple):
    """What a command wrote, and its exit code."""

    out: str
    err: str
    code: int


Say = Callable[..., Said]


@pytest.fixture
def vilbench(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Say:
    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["vilbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        streams = capsys.readouterr()
        return Said(streams.out, streams.err, int(ended.value.code or 0))

    return call


def files(place: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(place)): path.read_bytes()
        for path in sorted(place.rglob("*"))
        if path.is_file()
    }


def test_a_set_is_written_that_every_command_takes(vilbench: Say, tmp_path: Path) -> None:
    run, out = stored(tmp_path / "run"), tmp_path / "chosen"
    before = files(run)
    said = vilbench("curate", run, "--out", out, "--size", 10)
    assert said.code == 0, said.err
    assert "pair judge: judge-prm/mean against judge-orm" in said.out
    assert "pair prm: prm/mean against prm/last-1" in said.out
    assert "held out: other solutions, chosen by other scorers" in said.out
    after = files(run)
    assert {name: after[name] for name in before} == before
    card = folder.card_of(out)
    assert (card.name, card.problems, card.n) == ("chosen", 10, 6)
    assert [one.problem_set for one in card.runs] == ["puzzles:dev"]
    assert card.runs[0].fingerprint == Run.read(run).manifest.fingerprint
    kept = own.load(out).problems
    originals = {one.problem.id: one.problem for one in puzzles("dev", 40)}
    assert [one.id for one in kept] == [one for one in originals if one in {p.id for p in kept}]
    for problem in kept:
        assert problem == originals[problem.id]
        assert [image.read() for image in problem.images]
    looked = list(folder.indicators(out))
    assert len(looked) == 40
    assert [one.id for one in looked if one.fate == "chosen"] == [one.id for one in kept]
    assert min(one.indicator for one in looked if one.fate == "chosen") > 0
    shown = vilbench("problems", "show", out, "--limit", 2)
    assert kept[0].id in shown.out


def test_the_same_seed_gives_the_same_bytes(vilbench: Say, tmp_path: Path) -> None:
    run = stored(tmp_path / "run")
    for name, seed in (("a", 0), ("b", 0), ("c", 5)):
        asked = ("--size", 8, "--seed", seed, "--name", "set", "--out", tmp_path / name)
        assert vilbench("curate", run, *asked).code == 0
    first, again, other = (files(tmp_path / name) for name in "abc")
    assert first == again
    assert first["curated.json"] != other["curated.json"]
    # Made anew in its place, it is the same again.
    same = ("--size", 8, "--name", "set", "--out", tmp_path / "a")
    assert vilbench("curate", run, *same).code == 0
    assert files(tmp_path / "a") == first


def test_a_card_is_text_whatever_its_names_are(vilbench: Say, tmp_path: Path) -> None:
    run, out = stored(tmp_path / "run"), tmp_path / "set"
    name = "<script>x</script> | [a](b) \x1b[31m"
    assert vilbench("curate", run, "--name", name, "--out", out).code == 0
    page = (out / "README.md").read_text()
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "\\<script\\>" in page


def test_options_state_pairs_rule_and_quotas(vilbench: Say, tmp_path: Path) -> None:
    run, out = stored(tmp_path / "run"), tmp_path / "set"
    said = vilbench(
        *("curate", run, "--out", out, "--rule", "mean-k", "--pass-rate", "0.2-0.9"),
        *("--pair", "mine=judge-prm/last-2,judge-orm", "--threshold", "none"),
        *("--quota", "angles=2", "--quota", "charts=100"),
    )
    assert said.code == 0, said.err
    card = folder.card_of(out)
    assert [(one.name, one.prm, one.orm) for one in card.pairs] == [
        ("mine", "judge-prm/last-2", "judge-orm")
    ]
    rule = card.rule
    assert (rule.rule, rule.lowest, rule.highest, rule.threshold) == ("mean-k", 0.2, 0.9, None)
    chosen = {one.source: one.chosen for one in card.sources}
    assert chosen["angles"] == 2
    assert chosen["charts"] > 2
    assert sum(chosen.values()) == chosen["angles"] + chosen["charts"]
    assert "charts: " in said.out
    assert "fewer than the 100 asked for" in said.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--pair", "x"), "field '--pair': 'x' is not NAME=PRM,ORM"),
        (("--quota", "angles"), "field '--quota': 'angles' is not SOURCE=COUNT"),
        (("--quota", "nothing=3"), "there is no source 'nothing'"),
        (("--pass-rate", "0.9-0.1"), "field 'pass_rate': must be two shares"),
        (("--threshold", "much"), "field '--threshold': 'much' is no number"),
        (("--rule", "best"), "field 'rule'"),
        (("--recipe", "embedded"), "'embedded' is a recipe for 'vilbench run embedded'"),
        (("--pair", "a=judge-prm/mean,other"), "no scorer 'other' has scored"),
    ],
)
def test_what_is_wrong_is_told(
    arguments: Sequence[str], told: str, vilbench: Say, tmp_path: Path
) -> None:
    run = stored(tmp_path / "run")
    said = vilbench("curate", run, "--out", tmp_path / "set", *arguments)
    assert said.code == 2
    assert told in said.err
    assert not (tmp_path / "set").exists()


def test_another_folder_is_never_replaced(vilbench: Say, tmp_path: Path) -> None:
    run, out = stored(tmp_path / "run"), tmp_path / "mine"
    out.mkdir()
    (out / "precious.txt").write_text("keep")
    said = vilbench("curate", run, "--out", out)
    assert said.code == 2
    assert "is there already, and no curated set" in said.err
    assert (out / "precious.txt").read_text() == "keep"
    assert vilbench("curate", "--out", tmp_path / "set").code == 2
    assert "name at least one run folder" in vilbench("curate", "--out", tmp_path / "set").err


def over(place: Path, source: Path, text: str = RECIPE) -> Run:
    """A run over a curated set, begun as the commands begin one, and scored."""
    recipe = config.parse_text(text, "recipe").over(job.parse_problems(str(source)))
    run = job.begin(recipe, place, fresh=False, command="vilbench run", stages=())
    rng = np.random.default_rng(0)
    note_sampling(run, "drawn", 6, "small")
    scorers = [one.name for one in recipe.scorers]
    for name in scorers:
        note_scoring(run, name, f"by {name}", "drawn")
    for problem in run.problems():
        answers = [problem.answer if one else "no" for one in rng.random(6) < 0.5]
        run.put_solutions(
            "drawn", [make_solution(problem, at, answer=one) for at, one in enumerate(answers)]
        )
    return run


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stands for folders of models that are not there."""
    monkeypatch.setattr(job, "model_folder", Path)


@pytest.mark.usefixtures("model")
def test_a_scorer_that_helped_is_told_with_its_inflation(vilbench: Say, tmp_path: Path) -> None:
    out = tmp_path / "chosen"
    assert vilbench("curate", stored(tmp_path / "run"), "--out", out).code == 0
    with over(tmp_path / "over", out):
        pass
    said = vilbench("report", tmp_path / "over")
    assert said.code == 0, said.err
    warned = [line for line in said.out.splitlines() if line.startswith("warning: ")]
    card = folder.card_of(out)
    (gain,) = [
        one
        for one in card.gains
        if (one.pair, one.fit, one.contrast) == ("judge", "both", "prm-orm")
    ]
    judge = next(line for line in warned if "judge-orm and judge-prm helped to choose" in line)
    assert f"inflated by {100 * gain.inflation:+.1f} [" in judge
    assert any("prm helped to choose the problems of chosen" in line for line in warned)
    assert any("prm is used was chosen on puzzles:dev, where the problems" in w for w in warned)
    results = Results.model_validate_json((tmp_path / "over" / "results.json").read_text())
    assert [f"warning: {one}" for one in results.notices] == warned
    page = (tmp_path / "over" / "report.html").read_text()
    assert "Warning: judge-orm and judge-prm helped to choose the problems of chosen" in page


@pytest.mark.usefixtures("model")
def test_a_run_keeps_its_warnings_when_the_set_is_gone(vilbench: Say, tmp_path: Path) -> None:
    out = tmp_path / "chosen"
    assert vilbench("curate", stored(tmp_path / "run"), "--out", out).code == 0
    card = folder.card_of(out)
    with over(tmp_path / "over", out):
        pass
    out.rename(tmp_path / "elsewhere")
    with Run.read(tmp_path / "over") as run:
        assert kinship.noted(run) == [card]
    assert "helped to choose" in vilbench("report", tmp_path / "over").out


@pytest.mark.usefixtures("model")
def test_a_scorer_is_known_under_another_name_and_a_new_one_is_not(
    vilbench: Say, tmp_path: Path
) -> None:
    out = tmp_path / "chosen"
    assert vilbench("curate", stored(tmp_path / "run"), "--out", out).code == 0
    card = folder.card_of(out)
    renamed = RECIPE.replace("judge-prm", "mine-prm").replace("judge-orm", "mine-orm")
    known = scorer_fingerprints(config.parse_text(renamed, "recipe"))
    lines = kinship.notices(card, known)
    assert "mine-orm and mine-prm helped to choose" in lines[0]
    other = renamed.replace("embedded:base", "embedded:small")
    fresh = scorer_fingerprints(config.parse_text(other, "recipe"))
    assert [line for line in kinship.notices(card, fresh) if "mine" in line] == []
    assert kinship.notices(card, {"new": "", "other": "0"}) == []
    # Which aggregations are reported does not make another scorer.
    fewer = RECIPE.replace("name: prm, model", "name: x, aggregations: [mean], votes: min, model")
    both = [scorer_fingerprints(config.parse_text(text, "r")) for text in (RECIPE, fewer)]
    assert both[0]["prm"] == both[1]["x"]
    # A plain run has nothing to say.
    with Run.read(tmp_path / "run") as run:
        assert kinship.noted(run) == []


def test_a_set_chosen_from_a_chosen_set_names_where_it_all_began(
    vilbench: Say, tmp_path: Path
) -> None:
    place = stored(tmp_path / "run")
    with job.go_on(place) as run:
        run.event(CURATED, {"name": "puzzles:dev", "problem_sets": ["MathVista:test"]})
    assert vilbench("curate", place, "--out", tmp_path / "again").code == 0
    card = folder.card_of(tmp_path / "again")
    assert card.problem_sets == (config.parse_text(RECIPE, "r").problem_set, "MathVista:test")


def test_a_damaged_card_is_refused(vilbench: Say, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert vilbench("curate", stored(tmp_path / "run"), "--out", out).code == 0
    path = out / "curated.json"
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "schema_version": 99}))
    with pytest.raises(InputError, match="is of version 99"):
        folder.card_of(out)
    path.write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        folder.card_of(out)
    (out / "indicators.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(InputError, match="row 1: is damaged"):
        list(folder.indicators(out))
    assert prepared.is_prepared(out)


@pytest.mark.parametrize("one", shipped("curate"), ids=lambda one: one.name)
def test_shipped_recipes_load(one: object) -> None:
    recipe = load_curating(next(found.name for found in shipped("curate") if found == one))
    assert len(recipe.pairs) >= 3
    assert recipe.card().threshold == 0.0


def test_the_paper_recipe_has_six_judges_and_six_hundred_problems() -> None:
    recipe = load_curating("paper-curate")
    assert len(recipe.pairs) == 6
    assert sum(recipe.quotas.values()) == recipe.size == 600
    judges = {one.name for one in config.load("paper/judges").scorers}
    stated = {name for pair in recipe.pairs[:4] for name in pair.pair().scorers}
    assert stated == judges


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pairs: []\n", "name"),
        ("name: x\npairs: [{name: a, prm: b, orm: b}]\n", "'b' is both forms"),
        ("name: x\npairs: [{name: all, prm: b, orm: c}]\n", "none 'all'"),
        ("name: x\nquotas: {a: -1}\npairs: []\n", "a quota is below 0"),
        ("name: x\npears: []\n", "pears"),
    ],
)
def test_recipes_that_are_none_are_refused(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=told):
        load_curating(str(path))


def test_a_card_reads_back_as_it_was_written() -> None:
    recipe = CurateRecipe(name="x", pass_rate=(0.1, 0.8), quotas={"a": 3})
    card = recipe.card()
    assert (card.lowest, card.highest, dict(card.quotas)) == (0.1, 0.8, {"a": 3})
    assert type(card).model_validate_json(card.model_dump_json()) == card
    assert "schema_version" in Curated.model_fields
