"""Best-of-N with objects of your own, stored as any run is."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import JsonValue

from vilbench import __version__
from vilbench.api.scoring import Scorer
from vilbench.api.stored import StoredRun, load_run
from vilbench.api.waiting import waited
from vilbench.errors import InputError
from vilbench.evaluate.analysis import Plan, analyse
from vilbench.evaluate.sampling import Sampler, sample
from vilbench.evaluate.scoring import score
from vilbench.problems.sets import ProblemSet
from vilbench.steps import FORMATS
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.types import Generator, Problem, Sampling


def best_of_n(
    problems: Sequence[Problem],
    generator: Generator,
    scorers: Scorer | Sequence[Scorer],
    out: str | Path,
    *,
    n: int = 8,
    seed: int = 0,
    format: str = "steps",  # noqa: A002 - the recipe's word
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int = 1024,
    concurrency: int = 8,
    name: str = "best-of-n",
) -> StoredRun:
    """Samples, scores and analyses, and stores all of it as a run; the same call goes on with it.

    Args:
        problems: With ids of their own.
        generator: Writes solutions: a loaded one or your own. It is not closed.
        scorers: Whoever scores them; one may stand alone.
        out: Folder of the run.
        n: Solutions of each problem.
        seed: Of the run.
        format: How solutions are asked for and split; a key of `vilbench.steps.FORMATS`.
        temperature: Of the sampling.
        top_p: Of the sampling.
        max_tokens: Most tokens of a solution.
        concurrency: Problems that the generator has under way at a time.
        name: Of the run.

    Raises:
        InputError: There are no problems, one stands alone or is none, two have one id, or a
            scorer is no `Scorer`.
        RunError: The folder holds a run of another recipe, or something else.
    """
    chosen = _scorers(scorers)
    problems = _problems(problems)
    ids = [problem.id for problem in problems]
    if not ids or len(set(ids)) < len(ids):
        raise InputError("problems need to be there, and to have ids of their own", field="id")
    sampler = Sampler(generator, FORMATS[format], n, Sampling(temperature, top_p, max_tokens), seed)
    recipe: dict[str, JsonValue] = {
        "problems": {"sha256": ProblemSet(name, tuple(problems)).digest()},
        "sample": {
            "generator": generator.fingerprint,
            "format": sampler.format.fingerprint,
            "temperature": temperature,
            "top_p": top_p,
            "max_tokens": max_tokens,
        },
    }
    sources = "+".join(dict.fromkeys(problem.source for problem in problems))
    versions = {"vilbench": __version__}
    manifest = Manifest.of(name, recipe, seed=seed, problem_set=sources, versions=versions)
    waited(_made(Path(out), manifest, problems, sampler, chosen, concurrency))
    return load_run(out)


def _problems(given: object) -> tuple[Problem, ...]:
    """What was given as problems; one of them is itself something to go through."""
    if isinstance(given, Problem):
        raise InputError("is a list of problems; did you mean [problem]?", field="problems")
    several = tuple(given) if isinstance(given, Iterable) else ()
    found = tuple(one for one in several if isinstance(one, Problem))
    if len(found) < len(several) or not isinstance(given, Iterable):
        raise InputError(
            "takes what load_problems gives, or a list of vilbench.problem(...)", field="problems"
        )
    return found


def _scorers(given: object) -> tuple[Scorer, ...]:
    """What was given as a scorer or several, looked at before anything is paid for."""
    several: tuple[object, ...] = (given,)
    if isinstance(given, Iterable) and not isinstance(given, str):
        several = tuple(given)
    found = tuple(one for one in several if isinstance(one, Scorer))
    if len(found) < len(several):
        raise InputError(
            "takes what load_prm gives, or vilbench.Scorer(...) of a scorer of yours",
            field="scorers",
        )
    names = [one.plan.name for one in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"need names of their own; several are '{twice[0]}'", field="scorers")
    return found


async def _made(
    folder: Path,
    manifest: Manifest,
    problems: Sequence[Problem],
    sampler: Sampler,
    scorers: Sequence[Scorer],
    concurrency: int,
) -> None:
    """All of it in one thread, to which an open run belongs."""
    with Run.open(folder, manifest) as run:
        run.add_problems(problems)
        await sample(run, sampler, concurrency=concurrency)
        for scorer in scorers:
            await score(run, scorer.steps, sampler.key)
        failures = run.failures()
        if failures:
            first = failures[0]
            told = f"problem '{first.problem_id}': {first.stage} failed: {first.error}"
            warnings.warn(f"{len(failures)} failed, the first: {told}", stacklevel=2)
        plan = Plan(sampler.n, tuple(scorer.plan for scorer in scorers))
        run.write_results(analyse(run, plan).model_dump_json(indent=1))
