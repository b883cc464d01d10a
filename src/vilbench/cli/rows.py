"""Options of `vilbench export` that say how trees become data, and what became of the trees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vilbench.collect.data import DataConfig, Summary

PLACES: Mapping[str, tuple[str, str]] = {
    "--values": ("", "values"),
    "--chains": ("rows", "chains"),
    "--most": ("rows", "most"),
    "--labels": ("rows", "labels"),
    "--spread": ("rows", "spread"),
    "--right": ("rows", "right"),
    "--broken": ("filters", "broken"),
    "--solved": ("filters", "solved"),
    "--min-visits": ("filters", "min_visits"),
    "--min-rollouts": ("filters", "min_rollouts"),
    "--agree-at": ("filters", "consensus"),
    "--unmatched": ("filters", "unmatched"),
    "--near-duplicates": ("filters", "near_duplicates"),
    "--balance": ("filters", "balance"),
    "--high": ("filters", "high"),
    "--seed": ("filters", "seed"),
}
"""Section and key of each option in the configuration of the data."""


def configured(given: Mapping[str, object]) -> DataConfig:
    """The configuration that options ask for.

    Raises:
        InputError: A value is wrong; the message names the option.
    """
    from pydantic import ValidationError

    from vilbench.collect.data import DataConfig
    from vilbench.errors import InputError
    from vilbench.validation import in_words

    sections: dict[str, dict[str, object]] = {"": {}, "rows": {}, "filters": {}}
    for name, value in given.items():
        section, key = PLACES[name]
        sections[section][key] = value
    data = {**sections[""], "rows": sections["rows"], "filters": sections["filters"]}
    try:
        return DataConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        options = {".".join(filter(None, at)): name for name, at in PLACES.items()}
        raise InputError(in_words(first), field=options.get(place, place)) from error


def told(summary: Summary) -> Iterator[str]:
    """What became of the trees, a line each."""
    yield f"trees: {summary.trees}, {summary.nodes} steps, {summary.labels} with a value"
    for one in summary.filters:
        whole = f" and {one.trees} problems" if one.trees else ""
        yield f"left out, {one.name}: {one.labels} values{whole}"
    for reason, count in summary.set_aside.items():
        yield f"not written, {reason}: {count}"
    yield (
        f"rows: {summary.rows} of {summary.problems} problems, {summary.steps} steps, "
        f"{summary.row_labels} with a value"
    )
