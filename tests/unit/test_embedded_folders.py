from __future__ import annotations

from pathlib import Path

import pytest

from vilbench import embedded
from vilbench.errors import CheckpointError


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "shipped"
    for name in ("small", "base"):
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text("{}")
    (root / "unfinished").mkdir()
    monkeypatch.setattr(embedded, "_ROOT", root)
    return root


def test_a_shipped_checkpoint_by_its_name(shipped: Path) -> None:
    assert embedded.names() == ("base", "small")
    assert embedded.model_folder("embedded:base") == shipped / "base"


def test_a_folder_by_its_path(tmp_path: Path, shipped: Path) -> None:
    assert embedded.model_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "name", ["huge", "", "unfinished", "../shipped/base", "base/", ".", "BASE", "embedded:base"]
)
def test_a_checkpoint_that_is_not_shipped(shipped: Path, name: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        embedded.model_folder(f"embedded:{name}")
    assert str(caught.value) == (
        f"no checkpoint 'embedded:{name}' is shipped; there are: embedded:base, embedded:small"
    )


def test_none_is_shipped(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_ROOT", shipped / "unfinished")
    with pytest.raises(CheckpointError, match="there are: none"):
        embedded.model_folder("embedded:base")


@pytest.mark.parametrize("path", ["", "no/such/folder", "base", "file.txt", "Embedded:base"])
def test_a_folder_that_is_not_there(
    path: str, tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(CheckpointError, match="there is no such folder") as caught:
        embedded.model_folder(path)
    assert (path or "''") in str(caught.value)
