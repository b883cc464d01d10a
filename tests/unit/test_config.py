"""Recipes: what loads, and what a wrong one is told."""

from __future__ import annotations

import json
import time
from importlib.resources import files
from pathlib import Path

import pytest

from vilbench import config
from vilbench.config import building, models
from vilbench.embedded import model_folder
from vilbench.errors import CheckpointError, InputError, RecipeError
from vilbench.evaluate.pools import Scale
from vilbench.testing import ScriptedEngine

GOOD = """\
name: mine
problems: {source: puzzles, split: dev, limit: 3}
sample:
  engine: {kind: local, model: folder}
  n: 4
scorers:
  - kind: judge
    name: judge-orm
    granularity: solution
    engine: {kind: local, model: folder}
  - kind: likelihood
    engine: {kind: local, model: folder}
"""


def shipped(room: str = ".") -> list[str]:
    return [
        Path(item.name).stem
        for item in files("vilbench.recipes").joinpath(room).iterdir()
        if item.name.endswith(".yaml")
    ]


def test_shipped_recipes_are_there() -> None:
    assert "embedded" in shipped()


@pytest.mark.parametrize("name", shipped())
def test_shipped_recipe_loads(name: str) -> None:
    recipe = config.load(name)
    assert recipe.scorers
    assert config.plan(recipe).n == recipe.sample.n


@pytest.mark.parametrize("name", shipped("training"))
def test_shipped_training_loads(name: str) -> None:
    recipe = config.load_training(name)
    assert recipe.name == name
    assert recipe.loss.kind == "mse" and recipe.epochs == 2  # the paper's
    with pytest.raises(RecipeError, match=f"'{name}' is a recipe for 'vilbench train {name}'"):
        config.load(name)


def test_a_recipe_of_the_demo_has_every_row_that_is_promised() -> None:
    plan = config.plan(config.load("embedded"))
    methods = [method.name for scorer in plan.scorers for method in scorer.methods()]
    steps = ("mean", "min", "product", "last-1", "last-2", "last-3", "last-4")
    assert methods == [
        "judge-orm",
        *(f"judge-prm/{name}" for name in steps),
        *(f"likelihood/{name}" for name in steps if name not in ("min", "product")),
        *(f"prm/{name}" for name in (*steps, "last-5", "last-6")),
        "prm-untrained/last-1",
    ]


@pytest.mark.parametrize(
    ("change", "row", "field", "words"),
    [
        (("  n: 4", "  m: 4"), 5, "sample.m", "is no key"),
        (("  n: 4", "  n: many"), 5, "sample.n", "must be a whole number"),
        (("  n: 4", "  n: 0"), 5, "sample.n", "must be at least 1"),
        (("model: folder}\n  n", "modell: folder}\n  n"), 4, "sample.engine", "(and 1 more error)"),
        (("    name: judge-orm", "    nam: judge-orm"), 7, "scorers[0].name", "(and 1 more error)"),
        (("  n: 4", "  n: 0\n  m: 1\n  k: 1"), 5, "sample.n", "(and 2 more errors)"),
        (("granularity: solution", "granularity: page"), 9, "scorers[0].granularity", "step"),
        (("kind: likelihood", "kind: oracle"), 11, "scorers[1]", "oracle"),
        (("split: dev", "split: all"), 2, "problems.split", "train"),
    ],
)
def test_wrong_recipe_names_file_line_and_key(
    change: tuple[str, str], row: int, field: str, words: str
) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(RecipeError) as caught:
        config.parse_text(text, "mine.yaml")
    assert caught.value.file == "mine.yaml"
    assert caught.value.row == row
    assert str(caught.value.field).startswith(field)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1", "YAML"),
        ("- 1\n- 2\n", "mapping"),
        ("", "mapping"),
        ("name: a\nname: b\n", "twice"),
        ("name: a\nsample:\n  n: 1\n  n: 2\n", "twice"),
        ("!!python/object/apply:os.system ['true']", "YAML"),
    ],
)
def test_what_is_no_recipe(text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        config.parse_text(text, "mine.yaml")


def test_duplicate_key_names_its_line() -> None:
    with pytest.raises(RecipeError) as caught:
        config.parse_text("name: a\nsample:\n  n: 1\n  n: 2\n", "mine.yaml")
    assert caught.value.row == 4
    assert caught.value.field == "n"


def test_unknown_names_are_listed(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="embedded"):
        config.load("nonesuch")
    with pytest.raises(RecipeError, match=r"nonesuch\.yaml"):
        config.load(str(tmp_path / "nonesuch.yaml"))


def test_equal_scorer_names_are_refused() -> None:
    text = GOOD.replace("  - kind: likelihood\n", "  - kind: likelihood\n    name: judge-orm\n")
    with pytest.raises(RecipeError, match="names of their own"):
        config.parse_text(text, "mine.yaml")


def test_unknown_aggregation_is_refused() -> None:
    text = GOOD.replace("  - kind: likelihood\n", "  - kind: likelihood\n    votes: last-0\n")
    with pytest.raises(RecipeError, match="last-0"):
        config.parse_text(text, "mine.yaml")


def test_changes_by_path() -> None:
    recipe = config.parse_text(GOOD, "mine.yaml")
    changed = recipe.changed({"seed": 5, "sample.n": 9, "problems.limit": 1})
    assert (changed.seed, changed.sample.n, changed.problem_sets[0].limit) == (5, 9, 1)
    assert changed.scorers == recipe.scorers
    with pytest.raises(RecipeError, match=r"sample\.n"):
        recipe.changed({"sample.n": 0})


TWO_SETS = "problems: [{source: puzzles, split: dev, limit: 3}, {source: puzzles, limit: 2}]"


def test_several_problem_sets_make_one_run() -> None:
    one = "problems: {source: puzzles, split: dev, limit: 3}"
    alone = config.load_problems(config.parse_text(GOOD, "mine.yaml"))
    recipe = config.parse_text(GOOD.replace(one, TWO_SETS), "mine.yaml")
    both = config.load_problems(recipe)
    assert both.name == recipe.problem_set == "puzzles:dev+puzzles:test"
    assert [p.id for p in both.problems[:3]] == [f"puzzles:dev/{p.id}" for p in alone.problems]
    assert both.problems[0].images[0].read() == alone.problems[0].images[0].read()
    assert len(both.problems) == 5
    fewer = recipe.changed({"problems.limit": 1})
    assert [p.limit for p in fewer.problem_sets] == [1, 1]
    assert len(config.load_problems(fewer).problems) == 2


def test_a_set_given_twice_is_refused() -> None:
    one = "problems: {source: puzzles, split: dev, limit: 3}"
    twice = "problems: [{source: puzzles, limit: 3}, {source: puzzles, limit: 2}]"
    with pytest.raises(InputError, match="two of the problem sets"):
        config.load_problems(config.parse_text(GOOD.replace(one, twice), "mine.yaml"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("limit: 2", "limit: 0"), "row 2, field 'problems[1].limit': "),
        (("limit: 2", "lim: 2"), "row 2, field 'problems[1].lim': is no key of a recipe"),
        ((TWO_SETS, "problems: []"), "row 2, field 'problems': "),
    ],
)
def test_faults_of_several_sets_are_placed(change: tuple[str, str], said: str) -> None:
    text = GOOD.replace("problems: {source: puzzles, split: dev, limit: 3}", TWO_SETS)
    assert said in told(text.replace(*change))


def test_identity_holds_what_changes_the_output_and_no_more() -> None:
    recipe = config.parse_text(GOOD, "mine.yaml")
    for path, value in {"concurrency": 1, "max_failures": 0.5, "name": "other"}.items():
        assert recipe.changed({path: value}).identity() == recipe.identity()
    assert recipe.changed({"sample.engine.device": "cuda"}).identity() == recipe.identity()
    for path, value in {"sample.n": 5, "sample.temperature": 0.5, "problems.limit": 4}.items():
        assert recipe.changed({path: value}).identity() != recipe.identity()


def test_identity_holds_names_that_are_no_recipes() -> None:
    served = GOOD.replace("{kind: local, model: folder}", "{kind: openai, model: m}", 1)
    recipe = config.parse_text(served, "mine.yaml")
    for path in ("sample.engine.extra", "problems.columns"):
        one, other = (recipe.changed({path: {"main": name}}).identity() for name in "ab")
        assert one != other, path


def test_a_run_gives_its_recipe_back() -> None:
    recipe = config.parse_text(GOOD, "mine.yaml")
    again = config.parse({**recipe.identity(), "name": recipe.name, "seed": recipe.seed})
    assert again == recipe


def test_puzzles_need_a_number() -> None:
    recipe = config.parse_text(GOOD.replace(", limit: 3", ""), "mine.yaml")
    with pytest.raises(RecipeError, match=r"problems\.limit"):
        config.load_problems(recipe)


def test_unknown_problem_source() -> None:
    recipe = config.parse_text(GOOD.replace("source: puzzles", "source: nowhere"), "mine.yaml")
    with pytest.raises(RecipeError, match="'nowhere' is neither 'puzzles', nor a public source"):
        config.load_problems(recipe)


def test_seed_of_the_run_draws_the_puzzles() -> None:
    recipe = config.parse_text(GOOD, "mine.yaml")
    one, two = (config.load_problems(recipe.changed({"seed": s})).problems for s in (0, 1))
    fixed = recipe.changed({"seed": 1, "problems.seed": 0})
    assert {p.id for p in one}.isdisjoint(p.id for p in two)
    assert [p.id for p in config.load_problems(fixed).problems] == [p.id for p in one]


def test_missing_checkpoint() -> None:
    with pytest.raises(CheckpointError, match="folder"):
        config.build(config.parse_text(GOOD, "mine.yaml"))


def told(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        config.parse_text(text, "mine.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("    granularity: solution\n", ""), "row 7, field 'scorers[0].granularity': is missing"),
        (("granularity: solution", "judge: 1"), "field 'scorers[0].granularity': is missing"),
        (
            ("granularity: solution", "granularity: step\n    judge: 1"),
            "row 10, field 'scorers[0].judge': is no key of a recipe",
        ),
        (("  - kind: judge", "  - prompt: brief"), "row 7, field 'scorers[0].kind': needs a kind"),
        (("kind: likelihood", "kind: oracle"), "row 11, field 'scorers[1].kind': "),
        (("kind: local", "kind: remote"), "row 4, field 'sample.engine.kind': "),
        (
            ("  - kind: likelihood\n", "  - kind: likelihood\n    engin: {}\n"),
            "row 12, field 'scorers[1].engin': is no key of a recipe",
        ),
        (("  n: 4", "  n: yes"), "row 5, field 'sample.n': is a truth value, not a number"),
        (("  n: 4", "  temperature: .inf"), "row 5, field 'sample.temperature': "),
        (("  n: 4", "  temperature: .nan"), "row 5, field 'sample.temperature': "),
        (
            ("model: folder}", "model: folder, device: gpu}"),
            "row 4, field 'sample.engine.device': 'gpu' is none of auto, cpu, cuda",
        ),
        (("  n: 4", "  format: haiku"), "row 5, field 'sample.format': 'haiku' is none of steps"),
        (
            ("granularity: solution", "granularity: step\n    prompt: rude"),
            "row 10, field 'scorers[0].prompt': 'rude' is none of rubric",
        ),
        (("judge-orm", "oracle"), "row 7, field 'scorers[0]': 'oracle' cannot name a scorer"),
        (
            ("  - kind: likelihood\n", "  - kind: likelihood\n    votes: product\n"),
            "row 11, field 'scorers[1]': 'product' needs bounded scores",
        ),
        (("name: mine", "name: mine\n5: 6"), "row 2, field '[5]'"),
        (("name: mine", "name: 2026-13-45"), "is no YAML: month"),
        (("name: mine", "name: *nothing"), "row 1: is no YAML: found undefined alias"),
        (("name: mine", "name: mine\n---"), "is no YAML"),
        (("name: mine", "name: \x07"), "is no YAML"),
    ],
)
def test_faults_are_placed(change: tuple[str, str], said: str) -> None:
    text = GOOD.replace(*change, 1)
    assert text != GOOD
    message = told(text)
    assert message.startswith("mine.yaml")
    assert said in message


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "a: &a [*a]",
        "&b {name: *b}",
        "- " * 50_000 + "1",
        "a: &a0 [x, x]\n" + "".join(f"b{i}: &a{i + 1} [*a{i}, *a{i}]\n" for i in range(60)),
        "'" + "x" * 100_000,
    ],
    ids=["nested", "itself", "mapping of itself", "lists", "laughs", "open"],
)
def test_hostile_yaml_is_refused_quickly(text: str) -> None:
    began = time.process_time()
    assert told(text).startswith("mine.yaml")
    assert time.process_time() - began < 10


def test_anchors_and_merges_of_yaml_are_fine() -> None:
    text = GOOD.replace(
        "engine: {kind: local, model: folder}", "engine: &e {kind: local, model: f}", 1
    )
    text = text.replace("engine: {kind: local, model: folder}", "engine: {<<: *e, dtype: float32}")
    recipe = config.parse_text(text, "mine.yaml")
    dtypes = [scorer.model_dump()["engine"]["dtype"] for scorer in recipe.scorers]
    assert dtypes == ["float32", "float32"]
    assert recipe.models() == ("f",)


PRM = """\
name: mine
problems: {source: puzzles, split: dev, limit: 3}
sample: {engine: {model: "embedded:small"}, n: 2}
scorers:
  - {kind: prm, model: FOLDER}
  - {kind: prm, name: prm-untrained, model: "embedded:small", untrained: true, format: steps-brief}
"""


def prm_recipe(tmp_path: Path, text: str, model: Path | str = "folder") -> config.Recipe:
    path = tmp_path / "prm.yaml"
    path.write_text(text.replace("FOLDER", json.dumps(str(model))))
    return config.load(str(path))


def test_reward_models_in_a_recipe(tmp_path: Path) -> None:
    recipe = prm_recipe(tmp_path, PRM)
    assert recipe.models() == ("embedded:small", "folder")
    prm, untrained = config.plan(recipe).scorers
    rows = ("mean", "min", "product", *(f"last-{n}" for n in range(1, 7)))
    assert [method.name for method in prm.methods()] == [f"prm/{row}" for row in rows]
    assert untrained.name == "prm-untrained"
    assert prm.scale is not None
    assert [prm.scale.unit(value) for value in (-0.2, 0.25, 1.5, None)] == [0, 0.25, 1, None]
    assert [prm.scale.weight(value) for value in (-0.2, 0.25, 1.5, None)] == [0, 0.25, 1, None]
    signed = Scale(-1, 1)
    assert [signed.weight(value) for value in (-2, -0.5, 1)] == [0, 0.5, 2]
    assert Scale(1, 5).weight(2.5) == 2.5
    identity = recipe.identity()["scorers"]
    assert isinstance(identity, list)
    assert isinstance(identity[0], dict)
    assert not {"device", "way", "max_batch_tokens"} & identity[0].keys()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("head_seed: 1", "untrained model alone"),
        ("format: steps", "untrained model alone"),
        ("format: none, untrained: true", "is none of"),
        ("value_range: [1, 0]", "no range"),
        ("way: fast", "tree"),
        ("aggregations: [sum]", "unknown aggregation"),
    ],
)
def test_a_reward_model_that_cannot_be_meant(tmp_path: Path, change: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words) as caught:
        prm_recipe(tmp_path, PRM.replace("model: FOLDER", f"model: FOLDER, {change}"))
    assert caught.value.field is not None
    assert caught.value.field.startswith("scorers[0]")


def test_reward_models_are_built(tmp_path: Path) -> None:
    from vilbench.prm.folder import save, untrained
    from vilbench.steps import FORMATS

    base = untrained(model_folder("embedded:small"), 3, format=FORMATS["steps"], device="cpu")
    wide = base.config.model_copy(update={"value_range": (-1.0, 1.0)})
    save(base.model, base.processor, wide, tmp_path / "wide")
    with pytest.raises(RecipeError, match=r"bounds \[-1.0, 1.0\]") as caught:
        building.build(prm_recipe(tmp_path, PRM, tmp_path / "wide"), ("score",))
    assert caught.value.field == "prm.value_range"
    text = PRM.replace("FOLDER,", "FOLDER, value_range: [-1, 1],").replace(
        "FOLDER}", "FOLDER, value_range: [-1, 1]}"
    )
    built = building.build(prm_recipe(tmp_path, text, tmp_path / "wide"), ("score",))
    assert [scorer.name for scorer in built.scorers] == ["prm", "prm-untrained"]
    assert built.engines == ()
    assert len({scorer.fingerprint for scorer in built.scorers}) == 2
    with pytest.raises(CheckpointError, match="no reward model's folder"):
        building.build(prm_recipe(tmp_path, PRM, model_folder("embedded:small")), ("score",))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(RecipeError, match=r"latin\.yaml: is not UTF-8"):
        config.load(str(tmp_path / "latin.yaml"))
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(RecipeError, match="Is a directory"):
        config.load(str(tmp_path / "folder.yaml"))


def test_paths_are_those_of_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "recipe.yaml").write_text(
        GOOD.replace("source: puzzles", "source: a.jsonl")
    )
    (tmp_path / "a.jsonl").write_text('{"question": "?", "answer": 1}\n' * 4)
    monkeypatch.chdir(tmp_path)
    recipe = config.load("sub/recipe.yaml")
    assert recipe.problem_set == "a"
    assert len(config.load_problems(recipe).problems) == 3
    monkeypatch.chdir(tmp_path / "sub")
    with pytest.raises(InputError, match=r"a\.jsonl: No such file"):
        config.load_problems(recipe)


@pytest.mark.parametrize("path", ["nonsense", "sample.nonsense", "sample.n.more", "no.such.key"])
def test_changes_of_what_is_no_key(path: str) -> None:
    with pytest.raises(RecipeError, match="the command line"):
        config.parse_text(GOOD, "mine.yaml").changed({path: 1})


def test_only_what_a_stage_needs_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []

    def engine(folder: object, **options: object) -> ScriptedEngine:
        built.append(folder)
        return ScriptedEngine({}, name=str(options["name"]))

    monkeypatch.setattr(models, "model_folder", lambda model: model)
    monkeypatch.setattr("vilbench.engines.local.LocalEngine", engine)
    text = GOOD.replace("model: folder", "model: policy", 1)
    recipe = config.parse_text(text.replace("model: folder", "model: embedded:x"), "mine.yaml")
    both = config.build(recipe)
    assert built == ["policy", "embedded:x"]
    assert [scorer.name for scorer in both.scorers] == ["judge-orm", "likelihood"]
    assert both.sampler is not None
    assert [one.name for one in both.engines] == ["None", "x"]
    assert config.build(recipe, ["score"]).sampler is None
    assert built[2:] == ["embedded:x"]
    alone = config.build(recipe, ["sample"])
    assert (alone.scorers, built[3:]) == ((), ["policy"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"search.beams": (0,)}, "field 'search.beams[0]': must be at least 1"),
        ({"search.widths": ()}, "field 'search.widths': must have 1 or more items"),
        ({"scorer.model": 3}, "field 'scorer.model': must be text"),
        ({"search.rounds": 3}, "field 'search.rounds': is no key of a recipe"),
    ],
)
def test_options_of_a_search_are_named_by_their_key(changes: dict[str, object], told: str) -> None:
    with pytest.raises(RecipeError) as caught:
        config.load_searching("embedded-search").changed(changes)
    assert str(caught.value) == f"the command line, {told}"
