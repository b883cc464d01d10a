import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_data import RECIPE, in_memory, manifest, openings

from vilbench.errors import RunError, RunStorageError
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that syncs fast; see `in_memory`."""
    with in_memory() as folder:
        yield folder


def test_fingerprint_follows_what_changes_the_output() -> None:
    one = manifest()
    assert one.fingerprint == manifest(versions={"torch": "9"}).fingerprint
    reordered = {key: RECIPE[key] for key in reversed(RECIPE)}
    assert one.fingerprint == manifest(recipe=reordered).fingerprint
    others = [manifest(seed=8), manifest(problem_set="x"), manifest(recipe={"sample": 1})]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 4


texts = st.text("ab\u00e9\u2028\U0001f600", max_size=3)
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-1e300, 1e300) | texts
json_values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(texts, json_values, max_size=3))
def test_manifest_survives_its_file(recipe: dict[str, Any]) -> None:
    one = manifest(recipe=recipe)
    again = Manifest.model_validate_json(one.model_dump_json())
    assert again == one
    assert one.differences(again) == ()


@settings(max_examples=50, deadline=None)
@given(json_values, json_values)
def test_differences_are_told_exactly_when_fingerprints_differ(old: Any, new: Any) -> None:
    one, other = manifest(recipe={"a": old}), manifest(recipe={"a": new})
    assert bool(one.differences(other)) == (one.fingerprint != other.fingerprint)


def test_an_edited_manifest_is_noticed(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"temperature": 1.0', '"temperature": 0.5'))
    with pytest.raises(RunStorageError, match="edited"):
        Run.read(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"schema_version": 1}', "[" * 100_000])
def test_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    Run.open(tmp_path, manifest()).close()
    (tmp_path / "manifest.json").write_text(text)
    for go in openings(tmp_path):
        with pytest.raises(RunStorageError, match=r"manifest\.json is damaged"):
            go()


def test_newer_schema_is_refused(tmp_path: Path) -> None:
    Run.open(tmp_path, manifest()).close()
    with sqlite3.connect(tmp_path / "run.sqlite") as connection:
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'schema_version'")
    connection.close()
    for go in openings(tmp_path):
        with pytest.raises(RunError, match=r"schema version 2.*newer vilbench"):
            go()
    stored = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**stored, "schema_version": 3, "new": 1}))
    with pytest.raises(RunError, match=r"schema version 3.*newer vilbench"):
        Run.read(tmp_path)
