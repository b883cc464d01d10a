"""Whether another recipe only asks a stored run for more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vilbench.store.manifest import Manifest, changed_lines


def departures(old: Manifest, new: Manifest) -> tuple[str, ...]:
    """A line for each difference by which what is stored would no longer be the new run's.

    More solutions of a problem and further scorers leave what is stored as it is. So do other
    problems, as long as those of the run are among them, which the stored ones themselves tell.
    """
    if old.seed != new.seed:
        return (f"run seed: {old.seed} -> {new.seed}",)
    before, after = dict(old.recipe), dict(new.recipe)
    for recipe in (before, after):
        recipe.pop("problems", None)
    before["sample"] = _up_to(before.get("sample"), after.get("sample"))
    after["scorers"] = _among(before.get("scorers"), after.get("scorers"))
    return changed_lines(
        {key: value for key, value in before.items() if value is not None},
        {key: value for key, value in after.items() if value is not None},
    )


def _up_to(old: Any, new: Any) -> Any:
    """The old sampling, of as many solutions as the new one if those are more."""
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return old
    n, more = old.get("n"), new.get("n")
    grown = isinstance(n, int) and isinstance(more, int) and n < more
    return {**old, "n": more} if grown else old


def _among(old: Any, new: Any) -> Any:
    """The new scorers that are old ones."""
    if not isinstance(old, list) or not isinstance(new, list):
        return new
    return [one for one in new if one in old]
