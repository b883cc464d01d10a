"""Options that say where the models of a command run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vilbench.config.staff import ExecutorConfig

_RAY = "ray"

Executor = Annotated[
    str | None,
    typer.Option("--executor", help="ray: models that are loaded run on workers of a cluster."),
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="HOST:PORT of the cluster, or auto; one here if not given."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Workers on the cluster.")]
PerWorker = Annotated[
    str | None,
    typer.Option(
        "--per-worker", help="What each takes, such as gpus=1,cpus=4,jobs=16 (requests at a time)."
    ),
]
_KEYS = ("cpus", "gpus", "jobs", "tries", "seconds")


def chosen(
    kind: str | None, address: str | None, workers: int | None, per_worker: str | None
) -> ExecutorConfig | None:
    """Where the models of a command run; None for here.

    Raises:
        typer.BadParameter: The options do not go together, or one is wrong.
    """
    given = {"--address": address, "--workers": workers, "--per-worker": per_worker}
    if kind is None:
        for name, value in given.items():
            if value is not None:
                raise typer.BadParameter("is for --executor ray", param_hint=name)
        return None
    if kind != _RAY:
        raise typer.BadParameter(f"'{kind}' is none of {_RAY}", param_hint="--executor")
    from pydantic import ValidationError

    from vilbench.config.staff import ExecutorConfig
    from vilbench.validation import in_words

    fields: dict[str, object] = dict(_pairs(per_worker or ""))
    if workers is not None:
        fields["workers"] = workers
    try:
        return ExecutorConfig.model_validate({"address": address, **fields})
    except ValidationError as error:
        first = error.errors()[0]
        told = f"{'.'.join(map(str, first['loc']))}: {in_words(first)}"
        raise typer.BadParameter(told, param_hint="--per-worker") from error


def _pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        if name.strip() not in _KEYS or not value:
            told = f"'{part}' is no NAME=NUMBER with a name of {', '.join(_KEYS)}"
            raise typer.BadParameter(told, param_hint="--per-worker")
        pairs.append((name.strip(), value.strip()))
    return pairs
