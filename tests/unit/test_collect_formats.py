"""Rows as files, and the files read back by what trains."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_data import counted, end, picture, prefixes, problem, share, step, tree

from vilbench.collect.data import Collection, DataConfig, Summary
from vilbench.collect.export import FORMATS
from vilbench.collect.formats import write_rows, write_trl, write_vilreward
from vilbench.collect.rows import DataRow
from vilbench.collect.tables import write_hub_table, write_parquet
from vilbench.errors import ImageError, RunStorageError
from vilbench.search import TreeRecord
from vilbench.steps import question_parts
from vilbench.training import parquet
from vilbench.training.data import load
from vilbench.training.rows import KEYS, Mark, TrainingRow, ValueRange
from vilbench.types import Image, Problem

SPAN = ValueRange(0.0, 1.0)
HOSTILE = "\x1b[31m</script>\u202e\u2028\u0085\x00 ,;\t{}[]\"' <|im_end|> |"
PROBLEMS = (
    problem("p", picture(1)),
    problem("q"),
    problem("c/1", picture(1), choices=("left", "right"), question="Where?"),
    problem(f"h {HOSTILE}", picture(2), question=f"?{HOSTILE}?"),
)
TREES = (
    counted("p"),
    tree("q", step("first\nand more", step("x", end("y", True), **share(1, 3)), **share(2, 3))),
    tree(
        "c/1",
        step("Step 1: a", step("Step 2: b\nStep 3: c", end("B", True)), **share(1, 2)),
        step("Step 1: a b", end("A", False, visits=3), **share(1, 8)),
        step("Step 1: a\tb", **share(1, 7)),
    ),
    tree(f"h {HOSTILE}", step(HOSTILE, end(f"{HOSTILE}{HOSTILE}", True), **share(1, 6))),
)


class Written(NamedTuple):
    """What a collection became: the rows as they were meant, the counts, the folder."""

    rows: list[DataRow]
    summary: Summary
    folder: Path


def written(
    folder: Path,
    write: Callable[..., None],
    problems: Sequence[Problem] = PROBLEMS,
    trees: Sequence[TreeRecord] = TREES,
    **config: Any,
) -> Written:
    collection = Collection(problems, trees, DataConfig.model_validate(config))
    rows = list(collection.rows())
    write(collection.rows(), folder, collection.tally)
    return Written(rows, collection.tally.summary(), folder)


def same(found: Sequence[TrainingRow], meant: Sequence[DataRow]) -> None:
    """Everything that trains is equal."""
    assert [(one.steps, one.values) for one in found] == [(one.steps, one.values) for one in meant]
    assert [one.parts for one in found] == [question_parts(one.problem) for one in meant]


def named(found: Sequence[TrainingRow], meant: Sequence[DataRow]) -> None:
    """Names and siblings, too."""
    assert [one.id for one in found] == [one.id for one in meant]
    assert [one.group for one in found] == [f"={one.problem.id}" for one in meant]


def test_rows_read_back_equal(tmp_path: Path) -> None:
    done = written(tmp_path, write_rows)
    found = load(tmp_path / "rows.jsonl", SPAN)
    same(found.rows, done.rows)
    named(found.rows, done.rows)
    assert found.rejected == () and len(found.rows) == done.summary.rows == 9
    assert (tmp_path / "rows.jsonl").read_bytes().isascii()
    assert any(None in row.values for row in found.rows)  # nulls are kept
    # A picture that two problems share is there once.
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_marks_read_back_equal(tmp_path: Path) -> None:
    trees = [tree("q", step("ab", step("c d", end("e", False), **share(9, 10)), **share(1, 1)))]
    for write, name in ((write_rows, "rows.jsonl"), (write_parquet, "rows.parquet")):
        written(tmp_path, write, trees=trees, rows={"spread": 0.25})
        (row,) = load(tmp_path / name, SPAN).rows
        assert row.marks == ((Mark(0, 2, 1.0),), (Mark(0, 3, 0.9),), ())


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_parquet, "rows.parquet"), (write_hub_table, "data/train.parquet")],
    ids=["beside", "inside"],
)
def test_parquet_reads_back_equal(tmp_path: Path, write: Any, name: str) -> None:
    done = written(tmp_path, write)
    found = load(tmp_path / name, SPAN)
    same(found.rows, done.rows)
    named(found.rows, done.rows)
    assert found.rejected == ()
    assert (tmp_path / "images").exists() == (name == "rows.parquet")
    schema = pq.read_schema(tmp_path / name)
    assert set(schema.names) <= set(KEYS) and set(schema.names) <= set(parquet.SCHEMA)


def test_the_hub_is_told_of_every_column(tmp_path: Path) -> None:
    written(tmp_path, write_hub_table)
    schema = pq.read_schema(tmp_path / "data/train.parquet")
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["images"] == {"feature": {"_type": "Image"}, "_type": "List"}
    assert features["values"]["feature"]["dtype"] == "float64"


def test_siblings_store_their_picture_once(tmp_path: Path) -> None:
    big = Image.of(picture(3)._source)  # type: ignore[arg-type]
    noise = problem("p", big)
    few = [tree("p", *(step(f"s{k}", **share(1, 2)) for k in range(2)))]
    many = [tree("p", *(step(f"s{k}", **share(1, 2)) for k in range(400)))]
    written(tmp_path / "a", write_hub_table, [noise], few)
    written(tmp_path / "b", write_hub_table, [noise], many)
    for name, rows in (("a", 2), ("b", 400)):
        file = pq.ParquetFile(tmp_path / name / "data/train.parquet")
        assert file.metadata.num_rows == rows
        columns = [file.metadata.row_group(0).column(k) for k in range(file.metadata.num_columns)]
        (held,) = (one for one in columns if one.path_in_schema.endswith("bytes"))
        assert held.total_uncompressed_size < 2 * len(big.read()) + 200


def unpacked(folder: Path) -> list[TrainingRow]:
    with zipfile.ZipFile(folder / "images.zip") as archive:
        archive.extractall(folder)
    found = load(folder / "vilreward_train.json", SPAN, kind="vilreward")
    assert found.rejected == ()
    return list(found.rows)


def test_vilreward_reads_back_equal(tmp_path: Path) -> None:
    done = written(tmp_path, write_vilreward)
    found = unpacked(tmp_path)
    questions = {question_parts(one.problem) for one in done.rows}
    assert {row.parts for row in found} == questions
    for parts in questions:
        here = [row for row in found if row.parts == parts]
        meant = [row for row in done.rows if question_parts(row.problem) == parts]
        same(here, meant)
        assert len({row.group for row in here}) == 1
    entries = json.loads((tmp_path / "vilreward_train.json").read_text())
    assert len(entries) == done.summary.row_labels == 16
    assert done.summary.set_aside == {}
    one = next(entry for entry in entries if entry["id"] == "p/3")
    assert one == {
        "id": "p/3",
        "image_path": f"images/{picture(1).digest}.png",
        "question": "What is p?",
        "process": "Step 1: two.\nStep 2: four.\nAnswer: 4",
        "value": 1.0,
        "step_ends": [12, 26, 36],
    }
    assert [entry["image_path"] for entry in entries if entry["id"] == "q/1"] == [None]
    (choice,) = {entry["question"] for entry in entries if entry["id"].startswith("c/1/")}
    assert choice == "Where?\nA. left\nB. right"


def test_vilreward_without_what_we_add_is_read_as_the_public_file(tmp_path: Path) -> None:
    done = written(tmp_path, write_vilreward, trees=[counted("p")])
    path = tmp_path / "vilreward_train.json"
    entries = json.loads(path.read_text())
    public = [
        {key: entry[key] for key in ("image_path", "question", "process", "value")}
        for entry in entries
    ]
    path.write_text(json.dumps(public))
    found = unpacked(tmp_path)
    # The last line of a solution is no step of its own for the reader of bare text.
    assert sum(value is not None for row in found for value in row.values) == len(done.rows) + 2


def test_equal_collections_are_equal_files(tmp_path: Path) -> None:
    for name, form in FORMATS.items():
        for once in "ab":
            written(tmp_path / once / name, form.write)
        files = sorted(path for path in (tmp_path / "a" / name).rglob("*") if path.is_file())
        assert files
        for path in files:
            other = tmp_path / "b" / path.relative_to(tmp_path / "a")
            assert path.read_bytes() == other.read_bytes(), path


def test_vilreward_tells_what_it_cannot_hold(tmp_path: Path) -> None:
    problems = [problem("two", picture(1), picture(2)), problem("q"), problem("r", question="same")]
    problems.append(problem("s", question="same"))
    trees = [
        tree("two", end("x", True)),
        tree("q", step("a", step("b", step("c")), **share(1, 2))),
        tree("r", end("x", True), step("x", **share(1, 4))),
        tree("s", end("x", False), end("y", False)),
    ]
    done = written(tmp_path, write_vilreward, problems, trees)
    assert done.summary.set_aside == {
        "solutions: several images": 1,
        "steps behind the last label": 2,
        "labels of a prefix that stands there already": 2,
    }
    assert (done.summary.rows, done.summary.row_labels) == (3, 3)
    found = unpacked(tmp_path)
    assert [(row.steps, row.values) for row in found] == [
        (("a",), (0.5,)),
        (("x",), (1.0,)),
        (("y",), (0.0,)),
    ]


def test_trl_reads_back_equal(tmp_path: Path) -> None:
    done = written(tmp_path, write_trl, rows={"labels": "every", "right": 0.2})
    found = load(tmp_path / "stepwise.jsonl", SPAN, kind="trl")
    hard = [
        (row.steps, tuple(float(bool(one)) for one in row.right))
        for row in done.rows
        if None not in row.right
    ]
    assert [(row.steps, row.values) for row in found.rows if row.steps[0] != "Step 1: a"] == [
        one for one in hard if one[0][0] != "Step 1: a"
    ]
    # Nothing is known of its second step: the row ends before it, and is not written twice.
    (cut,) = (row for row in found.rows if row.steps[0] == "Step 1: a")
    assert (cut.steps, cut.values) == (("Step 1: a",), (1.0,))
    assert done.summary.set_aside == {"steps from the first without a label on": 2}
    assert {row.parts for row in found.rows} == {question_parts(one) for one in PROBLEMS}
    first = json.loads((tmp_path / "stepwise.jsonl").read_text().splitlines()[0])
    assert first == {
        "prompt": "What is p?",
        "completions": ["Step 1: one."],
        "labels": [False],
        "images": [f"images/{picture(1).digest}.png"],
    }


def test_trl_writes_what_is_cut_to_the_same_once(tmp_path: Path) -> None:
    trees = [
        tree("q", step("a", step("b", end("c", True)), step("d", end("e", False)), **share(1, 2))),
        tree("p", step("x", end("y", True))),
    ]
    done = written(tmp_path, write_trl, trees=trees, rows={"labels": "every"})
    assert done.summary.set_aside == {
        "solutions of which nothing is left": 2,
        "steps from the first without a label on": 6,
    }
    (row,) = load(tmp_path / "stepwise.jsonl", SPAN, kind="trl").rows
    assert (row.steps, row.values) == (("a",), (1.0,))


TRL_FAULTS = [
    ({"labels": [True, 0]}, "labels[1]", "true or false"),
    ({"labels": [-100, True]}, "labels[0]", "true or false"),
    ({"labels": None}, "labels", "must be a list"),
    ({"labels": [True]}, "values", "1 values for 2 steps"),
    ({"completions": "a"}, "steps", "must be a list"),
    ({"prompt": None}, "question", "is missing"),
    ({"images": ["none.png"]}, "images[0]", "no such file"),
    ({"images": 3}, "images", "must be a path"),
]


@pytest.mark.parametrize(("change", "field", "told"), TRL_FAULTS, ids=[f[1] for f in TRL_FAULTS])
def test_faults_in_trl_rows(tmp_path: Path, change: dict[str, Any], field: str, told: str) -> None:
    row = {"prompt": "How many?", "completions": ["a", "b"], "labels": [True, False]}
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in (row, row | change)))
    (error,) = load(path, SPAN, kind="trl", most_bad=0.5).rejected
    assert (error.row, error.field) == (2, field) and told in error.message


ENDS = [
    ([], "the last must be"),
    ([3], "the last must be"),
    ([4, 3, 7], "rising"),
    ([0, 7], "rising"),
    ([True, 7], "rising"),
    ([3.0, 7], "rising"),
    (["3", 7], "rising"),
    ("7", "rising"),
    ([3, 4, 7], "without text"),
]


@pytest.mark.parametrize(("ends", "told"), ENDS, ids=[str(one[0]) for one in ENDS])
def test_faults_in_step_ends(tmp_path: Path, ends: Any, told: str) -> None:
    entry = {"image_path": None, "question": "?", "process": "one\ntwo", "value": 1}
    path = tmp_path / "x.json"
    path.write_text(json.dumps([entry | {"step_ends": [3, 7]}, entry | {"step_ends": ends}]))
    (error,) = load(path, SPAN, kind="vilreward", most_bad=0.5).rejected
    assert (error.row, error.field) == (2, "step_ends") and told in error.message


def test_an_image_that_is_gone_stops_the_export(tmp_path: Path) -> None:
    lost = problem("p", Image(digest="0" * 64))
    for name, form in FORMATS.items():
        with pytest.raises(ImageError):
            written(tmp_path / name, form.write, [lost], [counted("p")])
        assert not [path for path in (tmp_path / name).rglob("*") if path.is_file()], name


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for form in FORMATS.values():
        with pytest.raises(RunStorageError):
            written(tmp_path / "file" / "x", form.write)


STEPS = st.text(st.sampled_from("ab \n\t1.:"), min_size=1, max_size=5).map(lambda text: f"s{text}")


@st.composite
def grown(draw: st.DrawFn) -> TreeRecord:
    """A tree of few texts, so that prefixes meet; no two siblings are equal."""
    from vilbench.search import NodeRecord, normalized

    nodes, taken = [NodeRecord(node=0)], set[tuple[int, str]]()
    for _ in range(draw(st.integers(1, 10))):
        parent, text = draw(st.integers(0, len(nodes) - 1)), draw(STEPS)
        if (parent, normalized(text)) in taken:
            continue
        taken.add((parent, normalized(text)))
        of = draw(st.integers(0, 3))
        right = draw(st.integers(0, of))
        nodes.append(
            NodeRecord(node=len(nodes), parent=parent, step=text, rollouts=of, right=right)
        )
    return TreeRecord(problem_id="q", rule="rollouts", seed=0, nodes=tuple(nodes))


@settings(max_examples=60, deadline=None)
@given(grown())
def test_vilreward_keeps_every_label_of_any_tree(
    tmp_path_factory: pytest.TempPathFactory, record: TreeRecord
) -> None:
    folder = tmp_path_factory.mktemp("any")
    done = written(folder, write_vilreward, trees=[record])
    if not done.rows:
        return
    found = load(folder / "vilreward_train.json", SPAN, kind="vilreward")
    assert found.rejected == ()
    lost = done.summary.set_aside.get("labels of a prefix that stands there already", 0)
    told, meant = prefixes(list(found.rows)), prefixes(done.rows)
    assert told.items() <= meant.items()
    assert len(told) == len(meant) - lost
    if not done.summary.set_aside:
        same(found.rows, done.rows)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.text(max_size=12), min_size=1, max_size=6),
    st.text(max_size=12),
    st.lists(st.text(min_size=1, max_size=5), max_size=3),
    st.booleans(),
)
def test_any_text_reads_back_equal_or_is_counted(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    question: str,
    options: list[str],
    pictured: bool,
) -> None:
    folder = tmp_path_factory.mktemp("text")
    images = (picture(1),) if pictured else ()
    asked = problem("q", *images, question=question, choices=tuple(options))
    record = tree("q", *(step(text, end(f"{text}.", True), **share(1, 2)) for text in texts))
    for form, name in (("rows", "rows.jsonl"), ("parquet", "rows.parquet")):
        done = written(folder, FORMATS[form].write, [asked], [record])
        lost = sum(done.summary.set_aside.values())
        blank = sum(not text.strip() for text in texts)
        assert len(done.rows) + lost == len(texts) - blank
        if done.rows:
            found = load(folder / name, SPAN)
            same(found.rows, done.rows)
            named(found.rows, done.rows)
