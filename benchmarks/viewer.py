"""The viewer over a large run: seconds of its pages, of its index, and its memory.

    python benchmarks/viewer.py --problems 100 10000

Runs of 24 solutions of 6 steps are made, with values of a reward model, a judge of steps and a
judge of whole solutions. A server in a process of its own shows them, and one client asks: each
figure is over many addresses, which change from one request to the next. Memory is the peak
resident size of the whole server process as the kernel counted it, the interpreter with all
libraries included. The index is made once, while pages are there already; its time is told.
"CPU" is what the server had of a processor per request, which other work on the machine does not
change; the other figures are of the clock.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

import PIL.Image

from vilbench.evaluate.analysis import Plan
from vilbench.evaluate.pools import Scale, ScorerPlan
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import BytesSource, Image, Problem, Solution, Span, StepScores

SOLUTIONS, STEPS = 24, 6
SCORERS = (
    ScorerPlan("prm", "step", Scale(0, 1), ("mean", "min", "product", "last-1", "last-2"), "mean"),
    ScorerPlan("judge-prm", "step", Scale(1, 5), ("mean", "min", "last-1"), "mean"),
    ScorerPlan("judge-orm", "solution", Scale(1, 5), (), "mean"),
)
PLAN = Plan(SOLUTIONS, SCORERS, "prm")
_SOURCES = ("charts", "angles", "counting", "machines", "spatial")
_MODALITIES = ("text-dominant", "visual-dominant")
_WORDS = re.findall(
    r"\w+", "the sum of all red bars is less than that of a green one so we add angles"
)
_TOGETHER = 250
_IMAGES = 200


def planner(_: Run) -> Plan:
    """The plan of a made run."""
    return PLAN


def make(folder: Path, problems: int) -> None:
    """A run with that many problems, all scored."""
    rng = random.Random(problems)
    images = [_image(rng) for _ in range(min(_IMAGES, problems))]
    manifest = Manifest.of(f"made {problems}", {}, seed=0, problem_set="made:test")
    with Run.open(folder, manifest) as run:
        note_sampling(run, "pools", SOLUTIONS, "made")
        for scorer in SCORERS:
            note_scoring(run, scorer.name, scorer.name, "pools")
        for start in range(0, problems, _TOGETHER):
            some = [
                _problem(rng, i, images) for i in range(start, min(start + _TOGETHER, problems))
            ]
            run.add_problems(some)
            pools = [one for problem in some for one in _pool(rng, problem)]
            run.put_solutions("pools", pools)
            for scorer in SCORERS:
                run.put_scores(scorer.name, [_scores(rng, scorer, one) for one in pools])


def _image(rng: random.Random) -> Image:
    picture = PIL.Image.new("RGB", (112, 112), (rng.randrange(256), rng.randrange(256), 200))
    for _ in range(40):
        picture.putpixel((rng.randrange(112), rng.randrange(112)), (0, 0, 0))
    file = io.BytesIO()
    picture.save(file, "PNG")
    return Image.of(BytesSource(file.getvalue()))


def _said(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=words)) + f" {rng.randrange(10_000)}."


def _problem(rng: random.Random, number: int, images: Sequence[Image]) -> Problem:
    return Problem(
        id=f"made-{number}",
        source=rng.choice(_SOURCES),
        question=_said(rng, 14),
        images=(rng.choice(images),),
        answer=str(rng.randrange(8)),
        answer_kind="number",
        modality=rng.choice(("text-dominant", "visual-dominant")),
    )


def _pool(rng: random.Random, problem: Problem) -> Iterator[Solution]:
    ease = rng.random()
    for index in range(SOLUTIONS):
        right = rng.random() < ease
        answer = problem.answer if right else str(rng.randrange(8, 14))
        spans, text = [], ""
        for step in range(STEPS):
            start = len(text)
            text += f"Step {step + 1}: {_said(rng, 9)}"
            spans.append(Span(start, len(text)))
            text += "\n"
        yield Solution(
            problem_id=problem.id,
            index=index,
            text=text + f"Answer: {answer}",
            steps=tuple(spans),
            answer=answer,
            verdict="correct" if right else "wrong",
            finish_reason="stop",
        )


def _scores(rng: random.Random, scorer: ScorerPlan, solution: Solution) -> StepScores:
    assert scorer.scale is not None
    low, high = scorer.scale.low, scorer.scale.high
    lean = 0.25 if solution.verdict == "correct" else 0.0
    count = STEPS if scorer.granularity == "step" else 1
    values = tuple(low + (high - low) * min(1.0, rng.random() * 0.75 + lean) for _ in range(count))
    return StepScores(
        problem_id=solution.problem_id,
        solution_index=solution.index,
        scorer=scorer.name,
        granularity=scorer.granularity,
        values=values,
    )


def serve(folder: Path, cache: Path, port: int) -> None:
    """Shows the run until it is ended."""
    import uvicorn

    from vilbench.viewer.app import application

    app = application(folder, planner, cache=cache)
    uvicorn.run(app, port=port, log_level="error", lifespan="off")


def addresses(kind: str, run: str, problems: int, rng: random.Random) -> str:
    """An address of that kind."""
    page = {"page": rng.randint(1, max(1, problems // 30))}
    methods = [method.name for scorer in SCORERS for method in scorer.methods()]
    one, other = rng.sample([*methods, "majority"], 2)
    some: dict[str, dict[str, str | float]] = {
        "source": {"source": rng.choice(_SOURCES), "modality": rng.choice(_MODALITIES)},
        "contrast": {"right": one, "wrong": other},
        "no right candidate": {"pool": "none-right", "sort": "easy"},
        "score range": {"by": rng.choice(methods), "low": 0.8, "high": 4.2, "sort": "high"},
        "text": {"text": f"{rng.choice(_WORDS)} {rng.randrange(10_000)}"},
        "phrase": {"text": f'"{" ".join(rng.choices(_WORDS, k=2))}"'},
        "all of it": {
            "source": rng.choice(_SOURCES),
            "right": one,
            "wrong": other,
            "text": rng.choice(_WORDS),
            "by": rng.choice(methods),
            "low": 0.3,
            "sort": "low",
        },
    }
    if kind == "summary":
        return run
    if kind == "list":
        return f"{run}/problems?{urlencode(page)}"
    if kind == "problem":
        return f"{run}/problems/{rng.randint(1, problems)}"
    if kind == "problem in a filter":
        asked = urlencode(some["contrast"])
        return f"{run}/problems/{rng.randint(1, problems)}?{asked}"
    return f"{run}/problems?{urlencode(some[kind])}"


KINDS = (
    "summary",
    "list",
    "source",
    "contrast",
    "no right candidate",
    "score range",
    "text",
    "phrase",
    "all of it",
    "problem",
    "problem in a filter",
)


def ask(port: int, address: str) -> tuple[float, str]:
    """Seconds until the last byte of a page, and the page."""
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", quote(address, safe="/?=&%+"))
    answer = connection.getresponse()
    body = answer.read()
    taken = time.perf_counter() - began
    connection.close()
    assert answer.status == 200, (answer.status, address)
    return taken, body.decode()


def peak(process: int) -> float:
    """Largest resident size of a process so far, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    held = next(line for line in lines if line.startswith("VmHWM"))
    return int(held.split()[1]) / 1000


def worked(process: int) -> float:
    """Seconds that a process has had of a processor."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(folder: Path, problems: int, repeats: int) -> Iterator[dict[str, object]]:
    """Figures of one run, the first page and the index first."""
    port = 20_000 + os.getpid() % 20_000
    with tempfile.TemporaryDirectory() as cache:
        command = [sys.executable, __file__, "--serve", str(folder), cache, str(port)]
        server = subprocess.Popen(command)  # noqa: S603
        try:
            run = _first(port)
            began = time.perf_counter()
            taken, page = ask(port, f"{run}/problems")
            yield {"problems": problems, "page": "first list, no index yet", "seconds": taken}
            taken, _ = ask(port, f"{run}/problems/{problems}")
            yield {"problems": problems, "page": "first problem, no index yet", "seconds": taken}
            while "index of this run is being made" in page:
                time.sleep(1.1)
                _, page = ask(port, f"{run}/problems")
            index = time.perf_counter() - began
            yield {
                "problems": problems,
                "page": "index",
                "seconds": index,
                "processor": worked(server.pid),
            }
            rng = random.Random(0)
            for kind in KINDS:
                given = [addresses(kind, run, problems, rng) for _ in range(repeats)]
                before = worked(server.pid)
                times = sorted(ask(port, address)[0] for address in given)
                yield {
                    "problems": problems,
                    "page": kind,
                    "median": statistics.median(times),
                    "p95": times[max(0, round(0.95 * len(times)) - 1)],
                    "worst": times[-1],
                    "processor": (worked(server.pid) - before) / repeats,
                }
            size = sum(one.stat().st_size for one in Path(cache).iterdir()) / 1e6
            yield {"problems": problems, "memory": peak(server.pid), "index file": size}
        finally:
            server.terminate()
            server.wait()


def _first(port: int) -> str:
    """The address of the only run, as soon as the server answers."""
    for _ in range(300):
        try:
            _, page = ask(port, "/")
            return "/runs/" + page.split('href="/runs/')[1].split('"')[0]
        except OSError:
            time.sleep(0.1)
    raise TimeoutError("the server does not answer")


def told(figures: dict[str, object]) -> str:
    """A line for a table."""
    if "memory" in figures:
        sizes = f"peak memory {figures['memory']:.0f} MB, index file {figures['index file']:.0f} MB"
        return f"{figures['problems']:>7}  {sizes}"
    if "seconds" in figures:
        cpu = f"   CPU {figures['processor']:.1f} s" if "processor" in figures else ""
        return f"{figures['problems']:>7}  {figures['page']!s:28} {figures['seconds']:8.3f} s{cpu}"
    kinds = ("median", "p95", "worst", "processor")
    times = "".join(f"{1000 * float(str(figures[key])):9.0f}" for key in kinds)
    return f"{figures['problems']:>7}  {figures['page']!s:28}{times} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--problems", type=int, nargs="+", default=[100, 10_000])
    parser.add_argument("--repeats", type=int, default=60, help="requests of each kind")
    parser.add_argument("--runs", type=Path, help="keep the made runs here, and use them again")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    parser.add_argument("--serve", nargs=3, metavar=("FOLDER", "CACHE", "PORT"))
    given = parser.parse_args()
    if given.serve:
        serve(Path(given.serve[0]), Path(given.serve[1]), int(given.serve[2]))
        return
    figures = []
    with tempfile.TemporaryDirectory() as temporary:
        print(f"{'':7}  {'':28}{'median':>9}{'p95':>9}{'worst':>9}{'CPU':>9}")
        for problems in given.problems:
            folder = (given.runs or Path(temporary)) / f"made-{problems}"
            if not folder.exists():
                make(folder, problems)
            for one in measure(folder, problems, given.repeats):
                figures.append(one)
                print(told(one), flush=True)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
