"""Stored trees as data: which trees, the counts beside them, the dataset's card, the command."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from tree_data import counted, end, picture, problem, share, step, tree

from vilbench.cli import main
from vilbench.collect.data import DataConfig
from vilbench.collect.export import (
    FORMATS,
    Exported,
    Labelling,
    StoredTrees,
    export,
    export_trees,
)
from vilbench.collect.filters import FilterConfig
from vilbench.collect.rows import RowsConfig
from vilbench.errors import RunError
from vilbench.search import TreeRecord
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.store.trees import Grown
from vilbench.training.data import load
from vilbench.training.rows import ValueRange
from vilbench.types import Usage

SPAN = ValueRange(0.0, 1.0)
SPENT = Spent(
    nodes=6,
    policy=Usage(prompt_tokens=5, completion_tokens=70),
    policy_calls=2,
    continuations=12,
    evaluator_calls=3,
)
POLICY = "small | <b>`x`</b>\n# no heading"


def collected(
    folder: Path, records: Sequence[TreeRecord], *, key: str = "k", policy: str = POLICY
) -> Path:
    """A run with trees, as a collection leaves it."""
    manifest = Manifest.of("my run", {"key": key}, seed=3, problem_set="own:train")
    with Run.open(folder, manifest) as run:
        run.add_problems([problem("p", picture(1)), problem("q")])
        run.event("command", {"line": "vilbench collect x.yaml"})
        about = {"key": key, "rule": "rollouts", "policy": policy, "evaluator": ""}
        run.event("collect", about)
        trees.put(run, key, [], [Grown(one, SPENT) for one in records])
    return folder


TREES = (
    counted("p"),
    tree("q", step("a", end("b", True), **share(2, 2)), root=share(2, 2)),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return collected(tmp_path / "run", TREES)


@pytest.mark.parametrize("form", FORMATS)
def test_counts_and_configuration_stand_beside_the_rows(
    folder: Path, tmp_path: Path, form: str
) -> None:
    config = DataConfig(filters=FilterConfig(solved="drop-always"))
    with Run.read(folder) as run:
        summary = export(run, tmp_path / "out", form, config)
        fingerprint = run.manifest.fingerprint
    told = Exported.model_validate_json((tmp_path / "out/collection.json").read_text())
    assert (told.format, told.summary, told.key, told.run) == (form, summary, "k", fingerprint)
    assert told.second is None
    assert told.config.filters == config.filters
    assert told.config.rows.labels == ("every" if form == "trl" else "once")
    assert [(one.name, one.trees, one.labels) for one in summary.filters] == [
        ("broken branches", 0, 0),
        ("solved: drop-always", 1, 2),
    ]
    assert (summary.trees, summary.labels, summary.rows) == (2, 8, 4)


def test_the_trees_of_the_last_collection_are_taken(tmp_path: Path) -> None:
    folder = collected(tmp_path / "run", TREES[:1], key="old")
    with Run.read(folder) as run:
        manifest = run.manifest
    with Run.open(folder, manifest) as run:
        run.event("collect", {"key": "new", "rule": "rollouts", "policy": "", "evaluator": ""})
        assert StoredTrees(run).key == "old"  # nothing is finished under the other key
        trees.put(run, "new", [], [Grown(TREES[1], SPENT)])
        stored = StoredTrees(run)
        assert stored.key == "new"
        assert [one.problem_id for one in stored] == [one.problem_id for one in stored] == ["q"]


def test_a_run_without_trees_and_the_run_itself_are_refused(folder: Path, tmp_path: Path) -> None:
    empty = collected(tmp_path / "empty", ())
    with Run.read(empty) as run:
        with pytest.raises(RunError, match="holds no trees; 'vilbench collect' grows them"):
            export(run, tmp_path / "out", "rows", DataConfig())
        with pytest.raises(RunError, match="holds no trees"):
            export_trees(run, tmp_path / "out")
    with Run.read(folder) as run:
        for name in FORMATS:
            with pytest.raises(RunError, match="this is the run itself"):
                export(run, folder / "." / "images" / "..", name, DataConfig())
        with pytest.raises(RunError, match="this is the run itself"):
            export_trees(run, folder)
        hopeless = DataConfig(filters=FilterConfig(min_visits=10**6))
        with pytest.raises(RunError, match="the filters leave no row"):
            export(run, tmp_path / "out", "rows", hopeless)


def test_trees_as_they_are(folder: Path, tmp_path: Path) -> None:
    with Run.read(folder) as run:
        assert export_trees(run, tmp_path / "out") == 2
    lines = (tmp_path / "out/trees.jsonl").read_text(encoding="ascii").splitlines()
    assert tuple(TreeRecord.model_validate_json(line) for line in lines) == TREES


def test_a_second_collection_decides(folder: Path, tmp_path: Path) -> None:
    other = tree("p", step("Step 1: two.", **share(1, 4)), step("Step 1: one.", **share(0, 4)))
    second = collected(tmp_path / "second", [other], key="2")
    config = DataConfig(filters=FilterConfig(consensus=0.5))
    with Run.read(folder) as run, Run.read(second) as judge:
        summary = export(run, tmp_path / "out", "rows", config, second=judge)
    (row,) = load(tmp_path / "out/rows.jsonl", SPAN).rows
    assert (row.steps, row.values) == (("Step 1: one.",), (0.0,))
    assert summary.filters[-1].name == "no consensus at 0.5" and summary.filters[-1].labels == 7
    told = Exported.model_validate_json((tmp_path / "out/collection.json").read_text())
    assert told.second is not None and told.second != told.run


def test_trees_of_a_guided_search_have_the_values_that_led_it(tmp_path: Path) -> None:
    grown = tree("p", step("a", end("b", True, judged=0.75), judged=0.5), rule="guided")
    with Run.read(collected(tmp_path / "run", [grown])) as run:
        summary = export(run, tmp_path / "out", "rows", DataConfig())
    assert summary.values == ("judge",)
    (row,) = load(tmp_path / "out/rows.jsonl", SPAN).rows
    assert row.values == (0.5, 0.75)


def front(text: str) -> tuple[dict[str, Any], str]:
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_card_of_a_dataset(folder: Path, tmp_path: Path) -> None:
    labelling = Labelling("Own steps", "apache-2.0", "vilbench export run --format hub")
    config = DataConfig(
        rows=RowsConfig(spread=0.1), filters=FilterConfig(solved="drop", min_rollouts=2)
    )
    with Run.read(folder) as run:
        export(run, tmp_path / "out", "hub", config, labelling=labelling)
    header, body = front((tmp_path / "out/README.md").read_text())
    assert header["license"] == "apache-2.0" and header["pretty_name"] == "Own steps"
    (data,) = header["configs"][0]["data_files"]
    assert (tmp_path / "out" / data["path"]).exists()
    for line in (
        "# Own steps",
        "| problems | own:train; 1 of 2 are here |",
        "| search | rollouts, seed 3 |",
        r"| policy | small \| \<b\>\`x\`\</b\> # no heading |",
        "| evaluator | the grade of finished answers alone |",
        "| solutions | 4 |",
        "| steps | 9, 6 with a value |",
        "| solved: drop | 1 | 2 |",
        "| 0.0 | 0.1 | 3 |",
        "- `rollouts`: the share of right answers among continuations of the prefix.",
        "vilbench collect x.yaml",
        "vilbench export run --format hub",
    ):
        assert line in body.splitlines(), line
    assert "140 tokens of the policy in 24 continuations, 6 prefixes" in body
    assert "`marks` has" in body


def test_the_card_without_filters_says_so(folder: Path, tmp_path: Path) -> None:
    with Run.read(folder) as run:
        export(run, tmp_path / "out", "hub", DataConfig(filters=FilterConfig(broken="keep")))
    header, body = front((tmp_path / "out/README.md").read_text())
    assert "license" not in header and header["pretty_name"] == "my run"
    assert "Nothing was left out." in body


Vilbench = Callable[..., str]


@pytest.fixture
def vilbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Vilbench:
    """Runs a command and checks the code it ends with; gives what it said."""

    def command(*arguments: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["vilbench", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said
        return said.err if code else said.out

    return command


def test_the_command_tells_every_count(vilbench: Vilbench, folder: Path, tmp_path: Path) -> None:
    said = vilbench(
        *("export", folder, "--format", "rows", "--to", tmp_path / "out"),
        *("--solved", "drop", "--most", 2, "--min-rollouts", 1, "--balance", 1, "--seed", 5),
    )
    assert said.splitlines()[:-1] == [
        "trees: 2, 8 steps, 8 with a value",
        "left out, broken branches: 0 values",
        "left out, solved: drop: 2 values and 1 problems",
        "left out, less than 1 rollouts: 0 values",
        "left out, balance, 1 to one: 0 values",
        "rows: 2 of 1 problems, 4 steps, 4 with a value",
    ]
    assert len(load(tmp_path / "out/rows.jsonl", SPAN).rows) == 2
    told = Exported.model_validate_json((tmp_path / "out/collection.json").read_text())
    assert told.config.filters.seed == 5 and told.config.rows.most == 2


def test_the_command_and_a_second_run(vilbench: Vilbench, folder: Path, tmp_path: Path) -> None:
    said = vilbench(
        *("export", folder, "--format", "rows", "--to", tmp_path / "out"),
        *("--consensus", folder, "--agree-at", 0.25),
    )
    assert "left out, no consensus at 0.25: 0 values" in said
    said = vilbench("export", folder, "--format", "trees", "--to", tmp_path / "out")
    assert said.startswith("2 trees: ")


@pytest.mark.parametrize("form", ["jsonl", "rows", "trl", "vilreward", "trees"])
def test_a_folder_of_other_things_is_not_written_to(
    vilbench: Vilbench, folder: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / "mine"
    asked = ("export", folder, "--format", form, "--to", out)
    for names in (["thesis.tex"], ["problems.jsonl", "images"], ["rows.jsonl"]):
        for name in names:
            (out / name).parent.mkdir(exist_ok=True)
            (out / name).write_text("years of work")
        told = vilbench(*asked, code=2)
        assert "is no earlier export" in told
        assert any(f"holds '{name}'" in told for name in names)
        assert {path.name for path in out.iterdir()} == set(names)
        for name in names:
            assert (out / name).read_text() == "years of work"
            (out / name).unlink()
    (out / ".git").mkdir()
    vilbench(*asked)
    vilbench(*asked)
    (out / "notes.txt").write_text("years of work")
    assert "holds 'notes.txt'" in vilbench(*asked, code=2)


def test_an_export_without_a_row_can_be_made_again(
    vilbench: Vilbench, folder: Path, tmp_path: Path
) -> None:
    asked = ("export", folder, "--format", "rows", "--to", tmp_path / "out")
    assert "leave no row" in vilbench(*asked, "--min-visits", 10**6, code=2)
    vilbench(*asked)


REFUSED: list[tuple[tuple[object, ...], str]] = [
    (("--format", "jsonl", "--most", 3), "'--most': is for the format hub or rows or "),
    (("--format", "trees", "--solved", "drop"), "'--solved': is for the format hub or rows or "),
    (("--format", "rows", "--pool", 1), "'--pool': is for the format jsonl, not for rows"),
    (("--format", "rows", "--title", "x"), "'--title': is for the format hub or model-index"),
    (("--format", "rows", "--solved", "often"), "'--solved': "),
    (("--format", "rows", "--values", "best"), "'--values': "),
    (("--format", "rows", "--most", 0), "'--most': "),
    (("--format", "rows", "--balance", 0.5), "'--balance': "),
    (("--format", "rows", "--near-duplicates", 2), "'--near-duplicates': "),
    (("--format", "rows", "--agree-at", 0.5), "a consensus needs a second collection"),
    (("--format", "rows", "--consensus", "none"), "none"),
]


@pytest.mark.parametrize(("options", "told"), REFUSED, ids=[str(one[0][2]) for one in REFUSED])
def test_options_that_are_refused(
    vilbench: Vilbench, folder: Path, tmp_path: Path, options: Sequence[object], told: str
) -> None:
    said = vilbench("export", folder, "--to", tmp_path / "out", *options, code=2)
    assert told in said
    assert not (tmp_path / "out").exists()


def test_the_file_of_counts_is_plain_json(folder: Path, tmp_path: Path) -> None:
    with Run.read(folder) as run:
        export(run, tmp_path / "out", "rows", DataConfig())
    told = json.loads((tmp_path / "out/collection.json").read_text())
    assert told["summary"]["schema_version"] == 1
    assert sum(told["summary"]["histogram"]) == told["summary"]["row_labels"] == 8
