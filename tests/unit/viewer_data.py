"""A small run for the viewer, with ties, losses and hostile text; requests without a network."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import PIL.Image
from starlette.types import Message

from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import BytesSource, Image, Problem, Solution, Span, StepScores, Verdict
from vilbench.viewer.app import application
from vilbench.viewer.guard import Guard
from vilbench.web.listening import LOOPBACK

HOSTILE = (
    '<script>alert(1)</script>"><img src=x onerror=alert(2)>'
    "</textarea><svg/onload=alert(3)>{{7*7}}\u202e\x1b[31m&amp;'"
)
N = 3
SCORERS = (
    ScorerPlan("prm", "step", Scale(0, 1), ("mean", "last-1"), "mean"),
    ScorerPlan("judge", "solution", Scale(1, 5), (), "mean"),
)
PLAN = Plan(N, SCORERS, "prm")

POOLS: Sequence[tuple[tuple[Verdict, str | None, tuple[float | None, ...], float | None], ...]] = (
    # verdict, answer, step values of prm, value of judge
    # prm right and majority wrong; judge ties between right and wrong
    (("correct", "1", (0.2, 0.9), 4), ("wrong", "2", (0.3, 0.1), 4), ("wrong", "2", (0.2, 0.2), 2)),
    # prm wrong and majority right
    (("wrong", "5", (0.9, 0.9), 1), ("correct", "1", (0.1, 0.1), 5), ("correct", "1", (0, 0.5), 5)),
    # nothing right, one without an answer
    (("wrong", "3", (0.5, 0.5), 3), ("unparsed", None, (None, None), None), ("wrong", "4", (), 1)),
    # all right
    (("correct", "1", (1, 1), 5), ("correct", "1", (1, 1), 5), ("correct", "1", (1, 1), 5)),
)


def png(colour: tuple[int, int, int] = (200, 40, 40), size: tuple[int, int] = (48, 32)) -> bytes:
    file = io.BytesIO()
    PIL.Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


def problem(index: int, question: str = "") -> Problem:
    return Problem(
        id=f"p{index}",
        source="charts" if index % 2 else HOSTILE,
        question=question or f"What is number {index}? zebra{index} {HOSTILE}",
        images=(Image.of(BytesSource(png((40 * index % 256, 90, 90)))),),
        answer="1",
        answer_kind="number",
        modality="text-dominant" if index < 3 else "visual-dominant",
    )


def solutions(index: int, problem_id: str) -> list[Solution]:
    found = []
    for place, (verdict, answer, values, _) in enumerate(POOLS[index % len(POOLS)]):
        lines = [f"Step {i + 1}: giraffe{place} {HOSTILE}" for i in range(len(values))]
        text, spans = "", []
        for line in lines:
            spans.append(Span(len(text), len(text) + len(line)))
            text += line + "\n"
        found.append(
            Solution(
                problem_id=problem_id,
                index=place,
                text=text,
                steps=tuple(spans),
                answer=answer,
                verdict=verdict,
                finish_reason="stop",
            )
        )
    return found


def scores(index: int, problem_id: str, scorer: str) -> list[StepScores]:
    return [
        StepScores(
            problem_id=problem_id,
            solution_index=place,
            scorer=scorer,
            granularity="step" if scorer == "prm" else "solution",
            values=values if scorer == "prm" else (value,),
            notes=(f"because {HOSTILE}",) if scorer == "judge" else (),
        )
        for place, (_, _, values, value) in enumerate(POOLS[index % len(POOLS)])
    ]


def manifest(name: str = "tiny") -> Manifest:
    return Manifest.of(name, {}, seed=7, problem_set="made:test")


def grow(run: Run, first: int, last: int, scorers: Sequence[str] = ("prm", "judge")) -> None:
    """Problems `first` to `last - 1` with their pools and the values of these scorers."""
    for index in range(first, last):
        one = problem(index)
        run.add_problems([one])
        run.put_solutions("pools", solutions(index, one.id))
        for scorer in scorers:
            run.put_scores(scorer, scores(index, one.id, scorer))


def made(folder: Path, problems: int = len(POOLS), name: str = "tiny") -> Path:
    """A finished run."""
    with Run.open(folder, manifest(name)) as run:
        note_sampling(run, "pools", N, HOSTILE)
        for scorer in SCORERS:
            note_scoring(run, scorer.name, scorer.name, "pools")
        grow(run, 0, problems)
    return folder


def planner(_: Run) -> Plan:
    return PLAN


def viewer(
    folder: Path,
    token: str | None = None,
    names: frozenset[str] = LOOPBACK,
    cache: Path | None = None,
) -> Guard:
    return application(folder, planner, token=token, names=names, cache=cache)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


def ask(
    app: Guard,
    address: str,
    method: str = "GET",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    host: str | None = "localhost:8765",
    path: str | None = None,
) -> Answer:
    """An answer of the app; `path` is sent as it is, without what a client would tidy up."""
    given = list(headers.items() if isinstance(headers, Mapping) else headers)
    given += [("host", host)] if host is not None else []
    parts = urlsplit(address)
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": parts.path if path is None else path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(key.lower().encode(), value.encode("latin-1")) for key, value in given],
        "client": ("127.0.0.1", 5000),
        "server": ("127.0.0.1", 8765),
    }
    sent: list[Message] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return waiting.pop() if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start = next(one for one in sent if one["type"] == "http.response.start")
    told = {key.decode(): value.decode("latin-1") for key, value in start["headers"]}
    data = b"".join(one.get("body", b"") for one in sent if one["type"] == "http.response.body")
    return Answer(start["status"], told, data)


def run_address(app: Guard) -> str:
    """The address of the first run in the list."""
    return "/runs/" + ask(app, "/").text.split('href="/runs/')[1].split('"')[0]
