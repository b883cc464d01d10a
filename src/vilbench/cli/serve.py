"""`vilbench serve`: scores, and the best of n, for other programs."""

from __future__ import annotations

from typing import Annotated

import typer

from vilbench.cli.screen import say, told


@told()
def serve(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|RECIPE",
            help="A reward model's folder, embedded:NAME, or a recipe whose scorer is served.",
        ),
    ],
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="Which scorer of a recipe.")
    ] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            "--upstream",
            help="Engine of the best-of-n proxy: http://.../v1, a folder, embedded:NAME, or "
            "'recipe' for the recipe's own.",
        ),
    ] = None,
    upstream_model: Annotated[
        str | None, typer.Option("--upstream-model", help="The model's name at that address.")
    ] = None,
    upstream_key: Annotated[
        str | None,
        typer.Option("--upstream-key-env", help="Environment variable that holds its key."),
    ] = None,
    format: Annotated[  # noqa: A002 - the recipe's word
        str | None, typer.Option("--format", help="How texts are split into steps.")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="0 takes one that is free.")
    ] = 8800,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; beyond loopback with --token only.")
    ] = "127.0.0.1",
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="VILBENCH_TOKEN",
            help="What clients must show as their API key; 16 characters at least.",
        ),
    ] = None,
    name: Annotated[
        list[str] | None,
        typer.Option("--name", help="Another name of this server; may be given again."),
    ] = None,
    image_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-image-host",
            metavar="HOST[:PORT]",
            help="Fetch images by https from this host; with a port by http too, and on a "
            "private network. May be given again; without it no image is fetched.",
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option("--queue", min=1, help="Requests that may wait; more get a 429.")
    ] = 512,
    batch_tokens: Annotated[
        int, typer.Option("--batch-tokens", min=1, help="Estimated tokens of a batch.")
    ] = 8192,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Most seconds of a request.")
    ] = 300.0,
) -> None:
    """Serve step scores, and an OpenAI-compatible best-of-n proxy."""
    from vilbench.cli import serving
    from vilbench.config.serving import serving as read

    asked = read(
        target,
        scorer=scorer,
        upstream=upstream,
        upstream_model=upstream_model,
        upstream_key=upstream_key,
        format=format,
    )
    place = serving.Place(host, port, token, frozenset(name or ()))
    bounds = serving.Bounds(queue, batch_tokens, timeout, tuple(image_host or ()))
    serving.serve(asked, place, bounds, say)
