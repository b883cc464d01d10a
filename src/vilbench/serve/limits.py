"""What one request may ask for, and what all together may hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of requests; all are looked at before any work is done.

    Attributes:
        body_bytes: Of a request, with the images that are fetched for it.
        held_bytes: Of all requests that are under way.
        body_seconds: Until a request's head has come, and again until its body has.
        images: Of a request.
        image_bytes: Of an encoded image.
        fetch_seconds: Of an image that is fetched, from its host's name to its last byte.
        pixels: Of an image, told by its header.
        characters: Of a question, of all choices together, and of a solution.
        choices: Of a question.
        solutions: Of a request.
        steps: Of a solution.
        samples: Candidates that the proxy draws for a request.
        max_tokens: Of a candidate.
        waiting: Requests that wait for the scorer, or for the upstream engine.
        batch_tokens: Estimated tokens of one batch for the scorer.
        seconds: Of a request, all in all.
        grace_seconds: For what is running when the server is told to stop.
    """

    body_bytes: int = 32 << 20
    held_bytes: int = 512 << 20
    body_seconds: float = 30.0
    images: int = 16
    image_bytes: int = 16 << 20
    fetch_seconds: float = 10.0
    pixels: int = 16_000_000
    characters: int = 100_000
    choices: int = 26
    solutions: int = 128
    steps: int = 256
    samples: int = 64
    max_tokens: int = 8192
    waiting: int = 512
    batch_tokens: int = 8192
    seconds: float = 300.0
    grace_seconds: float = 30.0


DEFAULT_LIMITS = Limits()
