"""The commands in this process: what they say, where, and the code they end with."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from errno import EROFS
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from commands import TINY, Command, runner
from PIL import Image
from rich.console import Console

from vilbench import __version__, config
from vilbench.cli import job, meter, screen
from vilbench.errors import EngineError, InputError
from vilbench.evaluate.results import Results
from vilbench.evaluate.stages import note_sampling, note_scoring, noted
from vilbench.store import run
from vilbench.store.manifest import Manifest
from vilbench.store.run import Run
from vilbench.testing import make_problem, make_solution, tiny_png
from vilbench.types import StepScores


@pytest.fixture
def vilbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return runner(capsys, monkeypatch)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return path


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    """A file of problems beside a sound picture, `good.png`."""
    (folder / "good.png").write_bytes(tiny_png("red", (64, 64)))
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(name: str, **changes: Any) -> dict[str, Any]:
    asked = {"id": name, "question": "What colour?", "image": "good.png", "answer": "red"}
    return {**asked, **changes}


def results(folder: Path) -> Results:
    return Results.model_validate_json((folder / "results.json").read_text())


def test_a_run_and_what_it_leaves(vilbench: Command, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    said = vilbench("run", recipe, "--out", out)
    assert "sample: 2 problems, 0 stored already" in said.out
    assert f"report: {out / 'report.html'}" in said.out
    first = (out / "results.json").read_bytes()
    assert str(tmp_path).encode() not in first
    again = vilbench("run", recipe, "--out", out)
    assert "sample: 2 problems, 2 stored already" in again.out
    assert "likelihood: 2 problems, 2 stored already" in again.out
    assert (out / "results.json").read_bytes() == first
    other = vilbench("run", recipe, "--out", out, "--seed", 5, code=2)
    assert "run seed: 0 -> 5" in other.err
    assert "--fresh" in other.err
    assert results(out).seed == 0
    vilbench("run", recipe, "--out", out, "--seed", 5, "--fresh")
    assert results(out).seed == 5


def test_stages_and_the_recipe_that_they_keep(
    vilbench: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    recipe.write_text(TINY + "max_failures: 0.6\nconcurrency: 3\n")
    data = jsonl(tmp_path, row("a"), row("b", image="none.png"))
    vilbench("report", out, code=2)
    said = vilbench("sample", recipe, "--problems", data, "--out", out)
    assert f"next: vilbench score {out}" in said.out
    vilbench("report", out)
    assert results(out).scorers == ()
    recipe.unlink()
    vilbench("score", out)
    assert results(out).scorers == ("likelihood",)
    with Run.read(out) as stored:
        kept = job.recipe_of(stored)
    assert (kept.max_failures, kept.concurrency) == (0.6, 3)
    before = (out / "results.json").read_bytes()

    def refuse(*_: object) -> None:
        raise AssertionError("a report needs no model")

    monkeypatch.setattr(config, "build", refuse)
    vilbench("report", out)
    assert (out / "results.json").read_bytes() == before
    page = (out / "report.html").read_text()
    assert "vilbench sample" in page
    assert "vilbench score" in page


def test_a_changed_limit_of_failures_is_no_other_recipe(
    vilbench: Command, recipe: Path, tmp_path: Path
) -> None:
    data = jsonl(tmp_path, row("a"), row("b", image="none.png"))
    arguments = ("run", recipe, "--problems", data, "--out", tmp_path / "run")
    strict = vilbench(*arguments, code=1)
    assert "more than 0.0%" in strict.out
    recipe.write_text(TINY + "max_failures: 0.5\n")
    vilbench(*arguments)


def test_a_problem_that_fails_spoils_nothing_else(
    vilbench: Command, recipe: Path, tmp_path: Path
) -> None:
    data = jsonl(tmp_path, row("long", question="word " * 5000), row("short"))
    out = tmp_path / "run"
    said = vilbench("run", recipe, "--problems", data, "--out", out, code=1)
    assert "failed: sample long: " in said.out
    assert "sample: done" in said.out
    assert "1 failed" in said.out
    sampled, scored = results(out).counts
    assert (sampled.units, sampled.failed) == (2, 2)
    assert (scored.units, scored.failed) == (2, 0)


def test_rows_that_cannot_be_used(vilbench: Command, recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "torn.png").write_bytes(tiny_png("red", (64, 64))[:60])
    (tmp_path / "dot.png").write_bytes(tiny_png("red", (1, 1)))
    Image.new("1", (8000, 8000)).save(tmp_path / "huge.png")
    bad = [
        (row("b", image="none.png"), "image", "no such file"),
        (row("c", image="empty.png"), "image", "0 bytes"),
        (row("d", image="torn.png"), "image", "truncated"),
        (row("e", image="dot.png"), "image", "1 x 1"),
        (row("f", image="huge.png"), "image", "over the limit"),
        ({"id": "g", "question": "Which?"}, "answer", "missing"),
        (row("a"), "id", "already"),
        (row("h", choices=["x", "y"], answer="z"), "answer", "not among"),
    ]
    data = jsonl(tmp_path, row("a"), *(one for one, _, _ in bad))
    out = tmp_path / "run"
    said = vilbench("run", recipe, "--problems", data, "--out", out, code=1)
    for number, (_, field, words) in enumerate(bad, 2):
        line = f"mine\\.jsonl, row {number}, field '{field}': .*{words}"
        assert re.search(line, said.out), (line, said.out)
    assert results(out).n_problems == 1
    assert len(results(out).rejected) == len(bad)
    data = jsonl(tmp_path, *(one for one, field, _ in bad if field == "image"))
    refused = vilbench("run", recipe, "--problems", data, "--out", tmp_path / "no", code=2)
    assert "no usable row among 5" in refused.err
    assert "row 1, field 'image'" in refused.err
    assert not (tmp_path / "no").exists()


def test_rows_that_were_mended_are_taken_and_those_that_vanish_missed(
    vilbench: Command, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    arguments = ("run", recipe, "--problems", tmp_path / "mine.jsonl", "--out", out)
    jsonl(tmp_path, row("a"), row("b", image="none.png"))
    vilbench(*arguments, code=1)
    jsonl(tmp_path, row("a"), row("b"))
    vilbench(*arguments)
    assert (results(out).n_problems, results(out).rejected) == (2, ())
    jsonl(tmp_path, row("b"))
    missed = vilbench(*arguments, code=2)
    assert "no longer in the input" in missed.err
    assert missed.err.rstrip().endswith("a")
    jsonl(tmp_path, row("a", answer="blue"), row("b"))
    assert 'answer: "red" -> "blue"' in vilbench(*arguments, code=2).err


def test_uncommon_images_run_through_with_a_note(
    vilbench: Command, recipe: Path, tmp_path: Path
) -> None:
    plain = Image.new("RGB", (64, 48), "teal")
    plain.convert("CMYK").save(tmp_path / "cmyk.jpg")
    plain.convert("P").save(tmp_path / "palette.png")
    Image.new("I;16", (64, 48), 40_000).save(tmp_path / "deep.png")
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    turned = Image.Exif()
    turned[0x0112] = 6
    plain.save(tmp_path / "turned.jpg", exif=turned)
    notes = {
        "cmyk.jpg": "CMYK converted",
        "palette.png": "palette converted",
        "deep.png": "16-bit channels",
        "moving.gif": "only the first of several frames",
        "turned.jpg": "turned upright",
    }
    data = jsonl(tmp_path, *(row(name, image=name) for name in notes))
    out = tmp_path / "run"
    said = vilbench("run", recipe, "--problems", data, "--out", out)
    for name, words in notes.items():
        assert re.search(f"{re.escape(name)}.*{words}", said.out), name
    assert results(out).n_problems == 5
    assert not results(out).counts[0].failed


class Text(HTMLParser):
    """Elements and text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_hostile_input_is_shown_as_text(vilbench: Command, recipe: Path, tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>\x1b[31m\u202e\x07<img onerror=x>"
    data = jsonl(
        tmp_path,
        row(evil, question=evil, source=evil, choices=[evil, "B" * 100_000], answer="A"),
        row("b", question=evil, image=evil),
        row("c", **{evil: 1}),
    )
    out = tmp_path / "run"
    said = vilbench("run", recipe, "--problems", data, "--out", out, code=1)
    assert "␛[31m⟨U+202E⟩␇" in said.out or "\\x1b[31m" in said.out
    vilbench("problems", "show", data)
    page = Text((out / "report.html").read_text())
    assert not page.elements & {"script", "iframe", "object"}
    assert "</script><script>alert(1)</script>␛[31m⟨U+202E⟩␇<img onerror=x>" in page.text


def test_recipes_that_are_refused(vilbench: Command, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    recipe.write_text(TINY.replace("  n: 2", "  samples: 2"))
    said = vilbench("run", recipe, "--out", out, code=2)
    assert said.err == (
        f"vilbench: {recipe}, row 6, field 'sample.samples': is no key of a recipe\n"
    )
    missing = tmp_path / "none.yaml"
    assert (
        f"{missing}: cannot be read: No such file"
        in vilbench("run", missing, "--out", out, code=2).err
    )
    assert "there are embedded" in vilbench("run", "embeded", "--out", out, code=2).err
    recipe.write_text(TINY.replace("embedded:small", "/no/such/folder"))
    assert (
        "/no/such/folder: there is no such folder"
        in vilbench("run", recipe, "--out", out, code=2).err
    )
    assert not out.exists()


def test_options_that_are_refused(vilbench: Command, recipe: Path, tmp_path: Path) -> None:
    run = ("run", recipe, "--out", tmp_path / "run")
    assert "the command line, field 'seed'" in vilbench(*run, "--seed", -1, code=2).err
    assert "-n" in vilbench(*run, "-n", 0, code=2).err
    assert "'all' is no split" in vilbench(*run, "--problems", "puzzles:all", code=2).err
    assert "prepare mmstar" in vilbench(*run, "--problems", "mmstar", code=2).err
    assert "none.jsonl: No such file" in vilbench(*run, "--problems", "none.jsonl", code=2).err
    assert "embedded:small" in vilbench(*run, "--engine", "embedded:no", code=2).err
    assert "No such option" in vilbench(*run, "--nonsense", code=2).err
    assert not (tmp_path / "run").exists()


def test_folders_that_are_refused(
    vilbench: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    for fresh in ((), ("--fresh",)):
        said = vilbench("run", recipe, "--out", other, *fresh, code=2)
        assert "holds no run" in said.err
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]
    assert "there is no run here" in vilbench("report", other, code=2).err
    assert "there is no run here" in vilbench("score", tmp_path / "none", code=2).err
    empty = Manifest.of("python", {}, seed=0, problem_set="sums")
    with Run.open(tmp_path / "python", empty):
        busy = vilbench("report", tmp_path / "python", code=2)
    assert f"process {os.getpid()} is writing" in busy.err
    told = vilbench("report", tmp_path / "python", code=2).err
    assert "holds no recipe" in told
    assert "same call of best_of_n" in told

    def read_only(*_: object) -> None:
        raise OSError(EROFS, os.strerror(EROFS))

    monkeypatch.setattr(run, "WriterLock", read_only)
    said = vilbench("run", recipe, "--out", tmp_path / "run", code=2)
    assert "the folder is read-only" in said.err


def test_a_full_disk_keeps_what_is_done(
    vilbench: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    arguments = ("run", recipe, "--out", out, "--limit", 6, "-n", 12)
    work = job.work

    def filling(stored: Run, *rest: Any, **options: Any) -> None:
        (pages,) = stored._connection.execute("PRAGMA page_count").fetchone()
        stored._connection.execute(f"PRAGMA max_page_count={pages + 4}")
        work(stored, *rest, **options)

    with monkeypatch.context() as full:
        full.setattr(job, "work", filling)
        assert f"{out}: the disk is full" in vilbench(*arguments, code=2).err
    with Run.read(out) as stored:
        kept = len(stored.solutions(noted(stored).sample_key))
    assert 0 < kept < 6
    assert f"sample: 6 problems, {kept} stored already" in vilbench(*arguments).out
    assert results(out).counts[0].units == 72


def test_ctrl_c_says_how_to_go_on(
    vilbench: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "work", interrupted)
    said = vilbench("run", recipe, "--out", tmp_path / "run", code=130)
    assert "the same command goes on from there" in said.err


def test_an_engine_error_that_ends_a_command(
    vilbench: Command, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failed(*_: object, **__: object) -> None:
        raise EngineError("no more")

    monkeypatch.setattr(job, "work", failed)
    assert vilbench("run", recipe, "--out", tmp_path / "run", code=1).err == "vilbench: no more\n"


def test_problems_are_listed_and_shown(vilbench: Command, tmp_path: Path) -> None:
    listed = vilbench("problems", "list").out
    assert len(re.findall("^puzzles ", listed, re.MULTILINE)) == 9
    data = jsonl(tmp_path, row("a", choices=["red", "blue"]), row("b"), row("c", image="no.png"))
    said = vilbench("problems", "show", data, "--limit", 1, "--images", tmp_path / "images").out
    assert "  A. red\n  B. blue\n  answer: A\n" in said
    assert said.count("answer: ") == 1
    assert "the rows from 2 on are not needed" in said
    assert "row 3, field 'image'" in vilbench("problems", "show", data).out
    (image,) = (tmp_path / "images").iterdir()
    assert image.read_bytes() == (tmp_path / "good.png").read_bytes()
    drawn = ("problems", "show", "puzzles:dev", "--limit", 9, "--images", tmp_path / "drawn")
    assert vilbench(*drawn).out.count("answer: ") == 9
    assert len(list((tmp_path / "drawn").iterdir())) == 9
    told = vilbench("problems", "show", data, "--images", data, code=2)
    assert f"{data}: File exists" in told.err


def test_formats_of_export(vilbench: Command, tmp_path: Path) -> None:
    said = vilbench("export", tmp_path, "--to", tmp_path / "out", "--format", "csv", code=2)
    assert (
        "there are hub, jsonl, inspect, model-index, rows, parquet, vilreward, trl, tre" in said.err
    )


def test_export_of_several_samplings(vilbench: Command, tmp_path: Path) -> None:
    """The model of a run was trained on meanwhile: two policies under one name."""
    problem, out = make_problem(), tmp_path / "out"
    with Run.open(tmp_path / "run", Manifest.of("two", {}, seed=0, problem_set="sums")) as run:
        run.add_problems([problem])
        for number, key in enumerate(("old", "new", "old", "newest"), 1):
            note_sampling(run, key, 1, "policy")
            note_scoring(run, "judge", f"judge {key}", key)
            if key != "newest":
                run.put_solutions(key, [make_solution(problem, text=f"The sum is {number}.")])
                scores = StepScores(
                    problem_id=problem.id,
                    solution_index=0,
                    scorer="judge",
                    granularity="step",
                    values=(float(number),),
                )
                run.put_scores(f"judge {key}", [scores])

    def exported(*options: object) -> tuple[str, str, list[float]]:
        asked = ("export", tmp_path / "run", "--format", "jsonl", "--to", out, *options)
        said = vilbench(*asked).out.splitlines()[0]
        (solution,) = (out / "solutions.jsonl").read_text().splitlines()
        (scores,) = (out / "scores.jsonl").read_text().splitlines()
        return said, json.loads(solution)["text"], json.loads(scores)["values"]

    last = "sampling 2: policy, key old; --pool takes another of 2"
    assert exported() == (last, "The sum is 1.", [1.0])
    assert exported("--pool", 2) == (last, "The sum is 1.", [1.0])
    assert exported("--pool", 1)[1:] == ("The sum is 2.", [2.0])
    asked = ("export", tmp_path / "run", "--format", "jsonl", "--to", out, "--pool", 3)
    said = vilbench(*asked, code=2)
    assert "'--pool': there is no sampling 3 in the run (1: policy, key new; 2: " in said.err


def test_problems_option() -> None:
    assert job.parse_problems("puzzles:dev") == {
        "problems.source": "puzzles",
        "problems.split": "dev",
    }
    assert job.parse_problems("puzzles") == {"problems.source": "puzzles"}
    # The limit of a recipe is one of puzzles, which have no end; a file is taken whole.
    for name in ("mine.jsonl", "a:b.jsonl", "a:dev.jsonl"):
        assert job.parse_problems(name) == {"problems.source": name, "problems.limit": None}
    for name, split in (("mathvista:testmini", "testmini"), ("mathvista", None)):
        told = {"problems.source": "mathvista", "problems.split": split}
        assert job.parse_problems(name) == told
    with pytest.raises(InputError, match="nonsense"):
        job.parse_problems("puzzles:nonsense")


def test_what_the_encoding_lacks_is_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    screen.spell_what_cannot_be_encoded()
    screen.say("40°")
    assert stream.buffer.getvalue() == b"40\\xb0\n"


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def text_of(shown: Console) -> str:
    assert isinstance(shown.file, io.StringIO)
    return shown.file.getvalue()


def test_bars_are_for_terminals() -> None:
    assert isinstance(meter.meter(console(terminal=True), plain=False), meter.Bars)
    assert isinstance(meter.meter(console(terminal=True), plain=True), meter.Lines)
    assert isinstance(meter.meter(console(terminal=False), plain=False), meter.Lines)


def test_lines_tell_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("vilbench.cli.meter.time.monotonic", lambda: now[0])
    shown = console(terminal=False)
    with meter.Lines(shown) as lines:
        lines.begin("sample", 9, 2)
        for second, failed in ((4.0, False), (11.0, True), (12.0, False), (22.5, False)):
            now[0] = 100.0 + second
            lines.advance("sample", failed=failed)
        lines.end("sample")
    assert text_of(shown).splitlines() == [
        "sample: 9 problems, 2 stored already",
        "sample: 4/9, 1 failed",
        "sample: 6/9, 1 failed",
        "sample: done in 22.5 s, 1 failed",
    ]


def test_bars_show_stages_and_failures() -> None:
    shown = console(terminal=True)
    with meter.Bars(shown) as bars:
        bars.begin("sample", 3, 1)
        bars.advance("sample", failed=True)
        bars.advance("sample", failed=False)
        bars.end("sample")
        bars.begin("judge[bold]", 1, 0)
    last = text_of(shown).rsplit("sample", 1)[1]
    assert "3/3" in last
    assert "1 failed" in last
    assert "judge[bold]" in last


def test_the_version_is_told_without_a_command(vilbench: Command) -> None:
    assert vilbench("--version").out == f"vilbench {__version__}\n"
    assert "--version" in vilbench("--help").out
