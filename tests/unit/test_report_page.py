from __future__ import annotations

import base64
import hashlib
import io
import re
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import PIL.Image
import pytest
from report_data import make_exhibit, make_results, make_solution, png

from vilbench.display.exhibit import Exhibit, chip, display, rank
from vilbench.display.picture import picture, sniff
from vilbench.display.text import visible
from vilbench.report.page import Provenance, render
from vilbench.types import BytesSource, FileSource, Image, StepScores

HOSTILE = [
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    '"><img src=x onerror=alert(3)>',
    "'><svg onload=alert(4)>",
    "{{7*7}} {% raw %} ${7*7} #{7*7}",
    "\x1b[31mred\x1b[0m\x1b]8;;http://x\x07",
    "\u202egnp.exe\u2066\u200b",
    "nul\x00bell\x07del\x7fcsi\x9b",
    "javascript:alert(5)",
    "<![CDATA[ x ]]> <!-- --> <?php ?>",
    '<svg><style>*{}</style><a xlink:href="javascript:alert(6)">',
    "</style><style>body{display:none}</style>",
    "</td></table></body></html><base href=http://x>",
    "&lt;b&gt; &amp; &#x3c;",
    "http://example.org/?a=b&c=d",
]
LONG = "w" * 100_000
PLACES = [
    "id",
    "source",
    "question",
    "choice",
    "gold",
    "step",
    "answer",
    "rest",
    "error",
    "prm",
    "orm",
    "note",
    "whole",
    "judge",
    "run",
    "policy",
    "row",
    "set",
    "print",
    "src",
    "command",
    "key",
    "version",
    "made",
]
VOID = {"meta", "img", "wbr", "br", "link", "input", "base"}


class Page(HTMLParser):
    """Elements, attributes, and the text between tags, and a check that tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.declarations: list[str] = []
        self.comments: list[str] = []
        self.open: list[str] = []
        self.style = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a beginning"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "style":
            self.style += data
        else:
            self.words.append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def unknown_decl(self, data: str) -> None:
        self.declarations.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def assert_harmless(html: str) -> Page:
    page = Page(html)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "base", "link", "form", "input"}
    assert [tag for tag, _ in page.tags].count("style") == 1
    for tag, attributes in page.tags:
        for key, value in attributes.items():
            assert not key.startswith("on"), (tag, key)
            assert key not in ("style", "srcset", "action", "formaction", "xlink:href"), (tag, key)
            if key == "src":
                assert value is not None and re.fullmatch(
                    r"data:image/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/=]*", value
                )
            if key == "href":
                inside = r"#[a-z]+|data:text/csv;charset=utf-8;base64,[A-Za-z0-9+/=]*"
                assert value is not None and re.fullmatch(inside, value)
                assert value.startswith("#") or attributes.get("download")
    assert page.comments == []
    assert page.declarations == []
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b]", html)
    return page


def hostile_exhibit(text: str) -> Exhibit:
    """`text` wherever a model or a data set can put it."""
    exhibit = make_exhibit(1)
    problem = exhibit.problem.model_copy(
        update={
            "id": f"id {text}",
            "source": f"source {text}",
            "question": f"question {text}",
            "choices": (f"choice {text}", "b"),
            "answer": f"gold {text}",
            "answer_kind": "text",
        }
    )
    solution = make_solution(
        problem.id, 0, [f"step {text}", "plain"], f"answer {text}", "wrong", f"rest {text}"
    )
    failed = solution.model_copy(update={"index": 1, "verdict": "failed", "error": f"error {text}"})
    scores = (
        StepScores(
            problem_id=problem.id,
            solution_index=0,
            scorer=f"prm {text}",
            granularity="step",
            values=(1.0, None),
            notes=(f"note {text}", ""),
        ),
        StepScores(
            problem_id=problem.id,
            solution_index=0,
            scorer=f"orm {text}",
            granularity="solution",
            values=(2.0,),
            notes=(f"whole {text}",),
        ),
    )
    return Exhibit(
        problem, (solution, failed), scores, {f"judge {text}/mean": 0, f"picker {text}/min": 9}
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_shown_as_text(text: str) -> None:
    results = make_results(
        scorers=(f"judge {text}", "judge-prm", "likelihood"),
        rename={"judge-orm": f"judge {text}", "judge-prm/mean": f"judge-prm/{text}"},
        name=f"run {text}",
        policy=f"policy {text}",
        rejected=(f"row {text}",),
    )
    results = results.model_copy(
        update={
            "problem_set": f"set {text}",
            "fingerprint": f"print {text}",
            "rows": tuple(
                r.model_copy(update={"source": f"src {text}"}) if r.source == "charts" else r
                for r in results.rows
            ),
        }
    )
    provenance = Provenance(f"command {text}", {f"key {text}": f"version {text}"}, f"made {text}")
    page = assert_harmless(render(results, [hostile_exhibit(text)], provenance))
    shown = visible(text)
    for place in PLACES:
        assert f"{place} {shown}" in page.text, place
    assert f"judge-prm/{shown}" in page.text
    assert "49" not in re.findall(r"question (\d+)", page.text)


def test_long_text_is_cut_and_counted_and_quick() -> None:
    start = time.process_time()
    html = render(make_results(name=LONG, rejected=(LONG,) * 500), [hostile_exhibit(LONG)] * 3)
    assert time.process_time() - start < 5
    page = assert_harmless(html)
    assert len(html) < 400_000
    assert "more characters)" in page.text
    assert "… and 450 more." in page.text
    assert max(len(word) for word in re.findall(r"w+", page.text)) <= 4_000


def test_policy_allows_the_one_style_block_and_nothing_else() -> None:
    page = Page(render(make_results(), [make_exhibit()]))
    metas = [a for tag, a in page.tags if tag == "meta"]
    content = next(a["content"] for a in metas if a.get("http-equiv") == "Content-Security-Policy")
    assert content is not None
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert content.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]
    assert "url(" not in page.style
    assert "@import" not in page.style


def test_policy_comes_before_the_style_and_the_page_names_no_address() -> None:
    html = render(make_results(), [make_exhibit()])
    assert html.index("Content-Security-Policy") < html.index("<style>")
    assert "http://" not in html
    assert "https://" not in html


def test_page_holds_every_part_and_stays_small() -> None:
    html = render(make_results(), [make_exhibit(i) for i in range(12)], Provenance("vilbench demo"))
    page = assert_harmless(html)
    assert len(html) < 500_000
    ids = {a["id"] for _, a in page.tags if "id" in a}
    assert ids == {
        "content",
        "methods",
        "curves",
        "sweep",
        "slices",
        "auroc",
        "values",
        "gallery",
        "costs",
    }
    hrefs = [a["href"] or "" for tag, a in page.tags if tag == "a"]
    links = {href[1:] for href in hrefs if href.startswith("#")}
    assert links == ids
    assert sum(1 for tag, _ in page.tags if tag == "article") == 12
    assert "Choosing one of 24 solutions with weighted-majority:likelihood" in page.text
    assert "about 6.1\u00a0points" in page.text or "6.1 points" in page.text
    assert "vilbench demo" in page.text
    assert "problems.jsonl, row 14, field 'answer': is empty" in page.text


def test_an_empty_run_has_a_page_that_says_so() -> None:
    results = make_results(scorers=(), rejected=()).model_copy(
        update={
            "rows": (),
            "discrimination": (),
            "histograms": (),
            "counts": (),
            "minimal_detectable_delta": None,
        }
    )
    page = assert_harmless(render(results, []))
    assert "This run holds no results yet." in page.text
    assert "No input row was set aside." in page.text
    assert "The command was not recorded." in page.text
    assert {a["id"] for _, a in page.tags if "id" in a} == {"content", "costs"}


def test_the_same_run_gives_the_same_bytes() -> None:
    assert render(make_results(), [make_exhibit()]) == render(make_results(), [make_exhibit()])


def test_methods_table_marks_clear_differences_and_the_best() -> None:
    html = render(make_results(), [])
    table = html[html.index('<table class="methods">') : html.index("</table>")]
    rows = {
        "".join(Page(row).words).split()[0]: row
        for row in re.findall(r"<tr.*?</tr>", table, re.DOTALL)
    }
    assert "▲" in rows["majority"]
    assert "▼" in rows["likelihood/product"]
    assert "▲" not in rows["judge-orm"] and "▼" not in rows["judge-orm"]
    assert 'class="best"' in rows["weighted-majority:likelihood"]
    assert table.count('class="best"') == 1


def test_a_missing_verdict_is_said_in_words_and_never_is_a_number() -> None:
    results = make_results()
    shown = display(make_exhibit(), results.scorers, {h.scorer: h for h in results.histograms})
    card = shown.cards[1]
    assert card.lines[1].chips[0].text == "no verdict"
    assert card.lines[1].chips[0].style == "none"
    # The third step still has its own value: a gap moves nothing.
    assert card.lines[2].chips[0].text in {"1", "2", "3", "4", "5"}


def test_fewer_values_than_steps_leave_no_verdict() -> None:
    exhibit = make_exhibit()
    short = exhibit.scores[1].model_copy(update={"values": (3.0,)})
    shown = display(replace(exhibit, scores=(short,)), (), {})
    assert [line.chips[0].text for line in shown.cards[0].lines[:3]] == [
        "3",
        "no verdict",
        "no verdict",
    ]


def test_text_outside_the_steps_is_shown_without_a_number() -> None:
    card = display(make_exhibit(), (), {}).cards[0]
    assert [(line.number, line.text) for line in card.lines][-1] == (0, "Answer: B")
    assert [line.number for line in card.lines] == [1, 2, 3, 0]


def test_who_picked_what() -> None:
    results = make_results()
    shown = display(make_exhibit(), results.scorers, {})
    assert shown.cards[0].picked_by == (
        "majority",
        "judge-prm: mean, last-2, min",
        "likelihood: mean",
    )
    assert shown.cards[1].picked_by == ("judge-orm",)
    assert shown.cards[2].picked_by == ()
    assert shown.picked_elsewhere == ("solution 11 (likelihood: last-3)",)


def test_colour_is_the_rank_among_the_scorers_values() -> None:
    judge = make_results().histograms[0]
    total = sum(judge.counts)
    assert rank(1.0, judge) == pytest.approx(judge.counts[0] / 2 / total)
    assert rank(5.0, judge) == pytest.approx(1 - judge.counts[4] / 2 / total)
    assert rank(-9.0, judge) == rank(1.0, judge)
    assert rank(99.0, judge) == rank(5.0, judge)
    styles = [chip("j", float(v), judge).style for v in range(1, 6)]
    assert styles == sorted(styles)
    assert chip("j", 3.0, None).style == "plain"
    nothing = judge.model_copy(update={"counts": (0,) * 5, "correct": (0,) * 5, "wrong": (0,) * 5})
    assert rank(3.0, nothing) == 0.5


def encoded(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new(mode, size, 0).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_types_that_browsers_draw_go_in_as_they_are(kind: str) -> None:
    data = encoded(kind)
    shown = picture(Image.of(BytesSource(data)))
    assert shown.url == f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"
    assert (shown.width, shown.height, shown.enlarged) == (320, 240, True)
    assert sniff(data) == kind


@pytest.mark.parametrize(
    ("kind", "mode"), [("BMP", "RGB"), ("TIFF", "RGB"), ("JPEG", "CMYK"), ("GIF", "P")]
)
def test_other_types_are_encoded_anew(kind: str, mode: str) -> None:
    shown = picture(Image.of(BytesSource(encoded(kind, mode=mode))))
    assert re.match(r"data:image/(png|gif);base64,", shown.url)
    assert (shown.width, shown.height) == (320, 240)


def test_large_images_are_made_smaller() -> None:
    noise = PIL.Image.effect_noise((3000, 1500), 90).convert("RGB")
    buffer = io.BytesIO()
    noise.save(buffer, "PNG")
    shown = picture(Image.of(BytesSource(buffer.getvalue())))
    assert shown.url.startswith("data:image/jpeg;base64,")
    assert len(shown.url) < 1_000_000
    assert (shown.width, shown.height, shown.enlarged) == (640, 320, False)


def test_an_image_that_cannot_be_shown_stops_nothing_and_names_no_path() -> None:
    gone = Path("/nowhere/secret-folder/x.png")
    missing = Image(digest="0" * 64).bound(FileSource(gone))
    truncated = Image.of(BytesSource(png((64, 64))[:-40]))
    vector = Image.of(
        BytesSource(b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>")
    )
    unbound = Image(digest="1" * 64)
    exhibit = make_exhibit()
    problem = exhibit.problem.model_copy(update={"images": (missing, truncated, vector, unbound)})
    html = render(make_results(), [replace(exhibit, problem=problem)])
    page = assert_harmless(html)
    assert page.text.count("cannot be shown:") == 4
    assert "secret-folder" not in html
    assert not [tag for tag, _ in page.tags if tag == "img"]
