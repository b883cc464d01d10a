"""A run as an eval log of Inspect AI (its JSON format, version 2).

A problem is a sample and each of its solutions an epoch of it. A sample has the scores

    answer    "C" right, "I" wrong, "N" where no answer could be read
    SCORER    of whole solutions the value; of steps `SCORER/mean`, `/min` and `/last-1`, and in
              its metadata every value; left out where there is no verdict

and the results hold the accuracy of every way to select. Pictures stand in the first epoch of a
problem alone: logs grow with the problems, and not with the solutions.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from vilbench.evaluate.results import Row
from vilbench.evaluate.stages import Stages, noted
from vilbench.images import extension
from vilbench.publish.privacy import Screen
from vilbench.publish.provenance import Provenance, Shown, provenance, shown_of
from vilbench.store.disk import replacing, storage_errors
from vilbench.store.records import ScoreRef
from vilbench.store.run import Run
from vilbench.types import Image, Problem, Solution, StepScores, Usage

ANSWER: Final = "answer"

_VERDICTS = {"correct": "C", "wrong": "I", "unparsed": "N", "failed": "N"}
_STOPS = {"stop": "stop", "length": "max_tokens", "content_filter": "content_filter"}
_KINDS = {"jpg": "jpeg"}
_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")

Json = dict[str, Any]


def write_log(run: Run, folder: Path, screen: Screen) -> Path:
    """Writes the log below `folder` under a name that `inspect view` lists; returns its path.

    Args:
        run: Open for reading; `vilbench report` has been made.
        folder: Where; made with its parents.
        screen: For texts.

    Raises:
        RunError: Nothing has been sampled, or there are no results yet.
        RunStorageError: The folder cannot be written.
        ImageError: A stored picture is missing or has changed.
    """
    shown, begun = shown_of(run), noted(run)
    origin = provenance(run, screen)
    log = _Log(run, shown, begun, origin, screen)
    stamp = re.sub(r"[:.]", "-", origin.created)
    task = _UNSAFE.sub("-", origin.dataset.name).strip("-") or "run"
    path = folder / f"{stamp}_{task}_{origin.fingerprint[:22]}.json"
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            for piece in log.pieces():
                file.write(piece.encode("ascii"))
    return path


class _Log:
    def __init__(
        self, run: Run, shown: Shown, begun: Stages, origin: Provenance, screen: Screen
    ) -> None:
        self._shown = shown
        self._begun = begun
        self._origin = origin
        self._screen = screen
        self._model = f"vilbench/{begun.policy}"
        self._problems = run.problems()
        pools = run.solutions(begun.sample_key)
        self._pools = {one: pool[: begun.n] for one, pool in pools.items()}
        self._scores = {name: run.scores(key) for name, key in begun.score_keys.items()}
        times = [event.at for event in run.events()]
        self._times = (min(times), max(times)) if times else (origin.created, origin.created)

    def pieces(self) -> Iterator[str]:
        """The log as JSON, a sample at a time; the header comes first, as readers expect."""
        solutions = [one for pool in self._pools.values() for one in pool]
        head: Json = {
            "version": 2,
            "status": "success",
            "eval": self._eval(),
            "plan": self._plan(),
            "results": self._results(solutions),
            "stats": self._stats(solutions),
        }
        yield _json(head)[:-1] + ',"samples":['
        first = True
        for problem in self._problems:
            for place, solution in enumerate(self._pools.get(problem.id, ())):
                sample = self._sample(problem, solution, with_pictures=place == 0)
                yield ("" if first else ",") + _json(sample)
                first = False
        yield "]}\n"

    def _eval(self) -> Json:
        origin = self._origin
        listed = [self._screen.text(one.id) for one in self._problems]
        names = [ANSWER, *self._begun.score_keys]
        return {
            "eval_id": origin.fingerprint[:22],
            "run_id": origin.fingerprint[:22],
            "created": _time(origin.created),
            "task": origin.dataset.name,
            "task_id": origin.fingerprint[22:44],
            "task_version": 0,
            "task_attribs": {},
            "task_args": {},
            "dataset": {
                "name": origin.dataset.repository or origin.dataset.name,
                "samples": len(listed),
                "sample_ids": listed,
                "shuffled": False,
            },
            "model": self._model,
            "model_generate_config": self._sampling(),
            "model_args": {},
            "config": {"epochs": self._begun.n, "epochs_reducer": ["mean"]},
            "packages": dict(origin.versions),
            "tags": ["vilbench"],
            "metadata": {
                "fingerprint": origin.fingerprint,
                "problem_set": origin.dataset.name,
                "origins": list(origin.origins),
                "commands": list(origin.commands),
                "recipe": dict(origin.recipe),
            },
            "scorers": [{"name": name, "options": {}, "metrics": []} for name in names],
        }

    def _sampling(self) -> Json:
        given = self._origin.recipe.get("sample")
        told = given if isinstance(given, dict) else {}
        names = ("temperature", "top_p", "max_tokens")
        return {name: told[name] for name in names if name in told} | {"seed": self._origin.seed}

    def _plan(self) -> Json:
        step = {"solver": "vilbench/sample", "params": {"n": self._begun.n}}
        return {"name": "plan", "steps": [step], "config": self._sampling()}

    def _results(self, solutions: Sequence[Solution]) -> Json:
        failed = sum(one.verdict == "failed" for one in solutions)
        return {
            "total_samples": len(self._problems) * self._begun.n,
            "completed_samples": len(solutions) - failed,
            "scores": [self._method(row) for row in self._shown.best],
        }

    def _method(self, row: Row) -> Json:
        """Accuracy of a way to select; the mean of the samples is that of the score `answer`."""
        own = row.method == "cot"
        scorer = row.method.partition("/")[0]
        told = {
            "k": row.k,
            "n_problems": row.n_problems,
            "ci_low": row.ci_low,
            "ci_high": row.ci_high,
            "delta_vs_cot": row.delta_vs_cot,
            "p_value": row.p_value,
        }
        metric = {"name": "accuracy", "value": row.accuracy, "params": {}, "metadata": told}
        return {
            "name": ANSWER if own else row.method,
            "scorer": ANSWER if own else scorer,
            "reducer": "mean" if own else f"best_of_{row.k}",
            "params": {},
            "metrics": {"accuracy": metric},
        }

    def _stats(self, solutions: Sequence[Solution]) -> Json:
        usage = sum((one.usage for one in solutions), Usage())
        return {
            "started_at": _time(self._times[0]),
            "completed_at": _time(self._times[1]),
            "model_usage": {self._model: _usage(usage)},
        }

    def _sample(self, problem: Problem, solution: Solution, *, with_pictures: bool) -> Json:
        text = self._screen.text
        parts = list(self._parts(problem, with_pictures=with_pictures))
        asked = {"role": "user", "content": parts}
        said = {
            "role": "assistant",
            "content": text(solution.text),
            "source": "generate",
            "model": self._begun.policy,
        }
        failed = solution.verdict == "failed"
        choice = {"message": said, "stop_reason": _STOPS.get(solution.finish_reason, "unknown")}
        sample: Json = {
            "id": text(problem.id),
            "epoch": solution.index + 1,
            "input": [asked],
            "choices": [text(one) for one in problem.choices] or None,
            "target": text(problem.answer),
            "messages": [asked] if failed else [asked, said],
            "output": {
                "model": self._begun.policy,
                "choices": [] if failed else [choice],
                "completion": "" if failed else text(solution.text),
                "usage": _usage(solution.usage),
            },
            "scores": dict(self._sample_scores(problem, solution)),
            "model_usage": {self._model: _usage(solution.usage)},
            "metadata": {
                "source": problem.source,
                "category": problem.category,
                "modality": problem.modality,
                "answer_kind": problem.answer_kind,
                "steps": [text(one) for one in solution.step_texts()],
                "images": [image.digest for image in problem.images],
                "verdict": solution.verdict,
            },
        }
        if failed:
            told = {"message": "sampling failed", "traceback": "", "traceback_ansi": ""}
            sample["error"] = told
        return sample

    def _parts(self, problem: Problem, *, with_pictures: bool) -> Iterator[Json]:
        if not with_pictures and problem.images:
            count = len(problem.images)
            yield {"type": "text", "text": f"({count} pictures: see the first epoch)"}
        for image in problem.images if with_pictures else ():
            yield {"type": "image", "image": _address(image)}
        yield {"type": "text", "text": self._screen.text(problem.question)}

    def _sample_scores(self, problem: Problem, solution: Solution) -> Iterator[tuple[str, Json]]:
        answer = solution.answer
        yield (
            ANSWER,
            {
                "value": _VERDICTS[solution.verdict],
                "answer": None if answer is None else self._screen.text(answer),
            },
        )
        for name, scores in self._scores.items():
            found = scores.get(ScoreRef(problem.id, solution.index))
            if found is not None and any(value is not None for value in found.values):
                yield name, self._score(found)

    def _score(self, given: StepScores) -> Json:
        known = [value for value in given.values if value is not None]
        value: object = known[0]
        if given.granularity == "step":
            told = {"mean": sum(known) / len(known), "min": min(known), "last-1": given.values[-1]}
            # The viewer shows these keys without the score's name.
            value = {f"{given.scorer}/{rule}": number for rule, number in told.items()}
        notes = [self._screen.text(note) for note in given.notes]
        return {
            "value": value,
            "explanation": "\n\n".join(notes) or None,
            "metadata": {"granularity": given.granularity, "values": list(given.values)},
        }


def _address(image: Image) -> str:
    data = image.read()
    kind = extension(data)
    return f"data:image/{_KINDS.get(kind, kind)};base64,{base64.b64encode(data).decode('ascii')}"


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "input_tokens_cache_read": usage.cached_tokens,
    }


def _time(text: str) -> str:
    return datetime.fromisoformat(text).isoformat(timespec="seconds")


def _json(value: Mapping[str, Any] | Iterable[Any]) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":"))
