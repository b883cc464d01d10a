"""How a card says to load what it is the card of: from the hub, or from a folder."""

from __future__ import annotations

import json
import shlex

from vilbench.publish.hub import Target
from vilbench.publish.publication import RepoType

FOLDER = "folder"
"""Stands for the folder that a publication lies in."""


def dataset(target: Target | None, *config: str, split: str = "test") -> str:
    """A call of `load_dataset`.

    Args:
        target: Where the data set will be; None for a folder.
        config: Name of a table that is not the default.
        split: Of it.
    """
    given = [_text(one) for one in (FOLDER if target is None else target.repository, *config)]
    given.append(f"split={_text(split)}")
    if target is not None and target.revision is not None:
        given.append(f"revision={_text(target.revision)}")
    return f"load_dataset({', '.join(given)})"


def download(target: Target | None, kind: RepoType) -> tuple[str, ...]:
    """The commands that make the folder of what is on the hub; none for a folder."""
    if target is None:
        return ()
    words = ["hf", "download", target.repository]
    words += ["--repo-type", kind] if kind != "model" else []
    words += ["--revision", target.revision] if target.revision is not None else []
    return (shlex.join([*words, "--local-dir", FOLDER]),)


def _text(value: str) -> str:
    """Text as Python writes it, with the quotes of the card's code."""
    return json.dumps(value, ensure_ascii=False)
