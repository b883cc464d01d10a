"""`vilbench export` as a publisher: what a folder is, a look without a network, refusals."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import prm_data as prm
import pytest
from publish_data import run_with_results
from puzzle_run import puzzle_run
from tree_data import counted, problem

from vilbench.cli import main
from vilbench.problems import prepared
from vilbench.problems.sets import ProblemSet
from vilbench.publish.recognise import Kind, recognise
from vilbench.store import trees
from vilbench.store.manifest import Manifest
from vilbench.store.records import Spent
from vilbench.store.run import Run
from vilbench.store.trees import Grown


class Said(NamedTuple):
    """What a command wrote to its two streams."""

    out: str
    err: str


Vilbench = Callable[..., Said]


@pytest.fixture
def vilbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Vilbench:
    """Runs `vilbench export` where no connection can be made; checks its code."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    def command(*arguments: object, code: int = 0) -> Said:
        monkeypatch.setattr(sys, "argv", ["vilbench", "export", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = Said(*capsys.readouterr())
        assert (ended.value.code or 0) == code, said
        return said

    return command


def model(place: Path) -> Path:
    return Path(shutil.copytree(prm.folder(), place))


def problems(place: Path) -> Path:
    prepared.write(ProblemSet("mine", (problem("a"),)), place, "me/mine", None)
    return place


def collected(place: Path) -> Path:
    manifest = Manifest.of("grown", {}, seed=0, problem_set="own")
    with Run.open(place, manifest) as run:
        run.add_problems([problem("p")])
        trees.put(run, "k", [], [Grown(counted("p"), Spent())])
    return place


def guided(place: Path) -> Path:
    """A run with solutions and with the trees that they are from."""
    run_with_results(place)
    with Run.open(place, Run.read(place).manifest) as run:
        first = run.problems()[0].id
        trees.put(run, "k", [], [Grown(counted(first), Spent())])
    return place


MAKERS: dict[str, Callable[[Path], Path]] = {
    "reward model": model,
    "problem set": problems,
    "results of a run": run_with_results,
    "training data": collected,
}


@pytest.mark.parametrize("what", MAKERS)
def test_a_look_offline_shows_files_card_and_what_stays(
    vilbench: Vilbench, tmp_path: Path, what: str
) -> None:
    folder = MAKERS[what](tmp_path / "it")
    before = sorted(path.name for path in folder.iterdir())
    hub = ("--to-hub", "me/it", "--revision", "v2", "--public")
    said = vilbench(folder, "--dry-run", *hub, "--to", tmp_path / "out").out
    lines = said.splitlines()
    (head,) = (line for line in lines if line.startswith(f"{what}, "))
    files = int(head.split(", ")[1].split()[0])
    listed = lines[lines.index(head) + 1 : lines.index(head) + 1 + files]
    assert listed[0].endswith(" README.md") and all(line.startswith("  ") for line in listed)
    assert "the card:" in lines and "  ---" in lines
    kind = "model" if what == "reward model" else "dataset"
    assert lines[-2] == f"nothing was written; it would be to {tmp_path / 'out'}"
    assert lines[-1] == (
        f"nothing was uploaded; it would be to me/it ({kind}, public if it is new, v2)"
    )
    assert not (tmp_path / "out").exists()
    if what != "reward model":
        assert "left out: " in said
    assert sorted(path.name for path in folder.iterdir() if "sqlite-" not in path.name) == before


@pytest.mark.parametrize("what", MAKERS)
def test_the_folder_is_written(vilbench: Vilbench, tmp_path: Path, what: str) -> None:
    folder = MAKERS[what](tmp_path / "it")
    said = vilbench(folder, "--to", tmp_path / "out", "--license", "mit").out
    assert said.splitlines()[-1] == f"{what}: {tmp_path / 'out'}"
    text = (tmp_path / "out" / "README.md").read_text()
    assert "license: mit" in text and "\n# " in text
    assert not list((tmp_path / "out").rglob("*.partial"))


@pytest.mark.parametrize("what", MAKERS)
def test_what_is_not_ours_is_not_written_over(
    vilbench: Vilbench, tmp_path: Path, what: str
) -> None:
    folder, out = MAKERS[what](tmp_path / "it"), tmp_path / "out"
    (out / ".git").mkdir(parents=True)
    (out / ".gitattributes").write_text("x")
    vilbench(folder, "--to", out, "--title", "First")
    (out / "LICENSE").write_text("mine")
    vilbench(folder, "--to", out, "--title", "Second")
    assert "# Second" in (out / "README.md").read_text()
    assert (out / "LICENSE").read_text() == "mine"
    for card in ("mine", "---\n- vilbench\n", "---\ntags:\n- a\n---\n- vilbench\n", "\udc80"):
        (out / "README.md").write_text(card, errors="surrogateescape")
        for look in ([], ["--dry-run"]):
            told = vilbench(folder, "--to", out, *look, code=2).err
            assert f"{out}, field '--to': holds 'README.md' and is no earlier export" in told
        assert (out / "README.md").read_text(errors="surrogateescape") == card
    (out / "README.md").unlink()
    assert "holds 'LICENSE' and is no" in vilbench(folder, "--to", out, code=2).err
    told = vilbench(folder, "--to", out / "LICENSE", code=2).err
    assert "Not a directory" in told and (out / "LICENSE").read_text() == "mine"


def test_a_model_that_ships_is_published_by_its_name(vilbench: Vilbench, tmp_path: Path) -> None:
    shown = vilbench("embedded:vilprm", "--dry-run").out
    assert "reward model, " in shown and "  # vilprm\n" in shown
    vilbench("embedded:vilprm", "--to", tmp_path / "out")
    assert (tmp_path / "out" / "prm.json").is_file()
    told = vilbench("embedded:huge", "--dry-run", code=2).err
    assert "no checkpoint 'embedded:huge' is shipped; there are: " in told


USES = {
    "reward model": (
        "hf download me/it --revision 'v 2\"' --local-dir folder",
        'prm = vilbench.load_prm("folder")',
    ),
    "problem set": (
        'problems = load_dataset("me/it", split="test", revision="v 2\\"")',
        "hf download me/it --repo-type dataset --revision 'v 2\"' --local-dir folder",
        "vilbench run embedded --problems folder --out runs/here",
    ),
    "results of a run": (
        'solutions = load_dataset("me/it", split="test", revision="v 2\\"")',
        'scores = load_dataset("me/it", "scores", split="test", revision="v 2\\"")',
    ),
}


@pytest.mark.parametrize("what", USES)
def test_a_card_on_the_hub_says_how_to_load_it_from_there(
    vilbench: Vilbench, tmp_path: Path, what: str
) -> None:
    folder = MAKERS[what](tmp_path / "it")
    on_hub = ("--dry-run", "--to-hub", "me/it")
    said = [
        line.strip() for line in vilbench(folder, *on_hub, "--revision", 'v 2"').out.splitlines()
    ]
    assert set(USES[what]) <= set(said)
    main_branch = vilbench(folder, *on_hub).out
    assert "revision=" not in main_branch and "--revision" not in main_branch
    alone = vilbench(folder, "--dry-run").out
    assert "hf download" not in alone and "me/it" not in alone
    assert '("folder"' in alone


def test_what_a_folder_is(tmp_path: Path) -> None:
    both = recognise(guided(tmp_path / "guided"))
    assert both.kinds == (Kind.RESULTS, Kind.DATA)
    assert recognise(tmp_path / "guided", Kind.DATA).kind is Kind.DATA
    training = tmp_path / "training"
    model(training / "prm")
    (training / "training.json").write_text("{}")
    for folder in (training, training / "prm"):
        found = recognise(folder)
        assert (found.folder, found.training) == (training / "prm", training)


def test_trees_of_a_guided_run_are_data_when_asked_for(vilbench: Vilbench, tmp_path: Path) -> None:
    folder = guided(tmp_path / "run")
    said = vilbench(folder, "--most", 2, "--dry-run", code=2).err
    assert "'--most': is for trees, and this is results; --as data takes the trees" in said
    said = vilbench(folder, "--as", "data", "--most", 2, "--dry-run").out
    assert "rows: 2 of 1 problems" in said and "training data, 3 files" in said


def test_inspect_and_index_by_the_command(vilbench: Vilbench, tmp_path: Path) -> None:
    run, out = run_with_results(tmp_path / "run"), tmp_path / "out"
    said = vilbench(run, "--format", "inspect", "--to", out).out
    (log,) = out.glob("*.json")
    assert said == f"inspect log: {log}\n"
    said = vilbench(run, "--format", "model-index", "--to", out).out
    assert said.splitlines() == [
        "note: the hub knows no such problems; --benchmark OWNER/NAME:TASK names them",
        f"figures of prm: model-index.yaml: {out}",
    ]
    said = vilbench(
        *(run, "--format", "model-index", "--to", out),
        *("--of", "policy", "--benchmark", "a/b:c", "--title", "me/solver"),
    ).out
    assert said == f"figures of policy: model-index.yaml, .eval_results/puzzles-dev.yaml: {out}\n"


@pytest.mark.parametrize("form", ["hub", "inspect", "model-index", "jsonl"])
def test_a_folder_is_not_written_to_itself(vilbench: Vilbench, tmp_path: Path, form: str) -> None:
    run = run_with_results(tmp_path / "run")
    before = {path.name for path in run.iterdir()}
    told = vilbench(run, "--format", form, "--to", run / ".." / "run", code=2).err
    assert "is the folder itself" in told or "is the run itself" in told
    assert {path.name for path in run.iterdir() if "sqlite-" not in path.name} == before


REFUSED: list[tuple[tuple[object, ...], str]] = [
    ((), "'--to': give --to FOLDER, --to-hub OWNER/NAME, or --dry-run"),
    (("--to-hub", "it"), "'--to-hub': 'it' is no name such as owner/name"),
    (("--dry-run", "--revision", "x"), "'--revision': is a branch of --to-hub"),
    (("--dry-run", "--as", "set"), "'--as': 'set' is none of model, data, problems, results"),
    (("--dry-run", "--as", "model"), "can be published as 'results', not as 'model'"),
    (("--dry-run", "--results", "x"), "'--results': is for a model, and this is results"),
    (("--dry-run", "--most", 1), "'--most': is for trees, and this is results"),
    (("--dry-run", "--consensus", "x"), "'--agree-at': is for trees, and this is results"),
    (("--dry-run", "--of", "prm"), "'--of': is for the format model-index, not for hub"),
    (("--format", "inspect"), "'--to': the format inspect needs a folder to write to"),
    (("--format", "jsonl", "--to-hub", "a/b"), "'--to-hub': is for the format hub, not for jsonl"),
    (("--format", "inspect", "--dry-run"), "'--dry-run': is for the format hub, not for inspect"),
]


@pytest.mark.parametrize(("options", "told"), REFUSED, ids=[str(one[0]) for one in REFUSED])
def test_what_is_refused(
    vilbench: Vilbench, tmp_path: Path, options: tuple[object, ...], told: str
) -> None:
    run = run_with_results(tmp_path / "run")
    assert told in vilbench(run, *options, code=2).err


def test_a_folder_of_nothing(vilbench: Vilbench, tmp_path: Path) -> None:
    assert "is nothing that can be published" in vilbench(tmp_path, "--dry-run", code=2).err
    gone = vilbench(tmp_path / "gone", "--dry-run", code=2).err
    assert "there is no such folder" in gone
    with Run.open(tmp_path / "new", Manifest.of("x", {}, seed=0, problem_set="y")):
        pass
    told = vilbench(tmp_path / "new", "--dry-run", code=2).err
    assert "holds neither solutions nor trees yet" in told
    (tmp_path / "training").mkdir()
    (tmp_path / "training" / "training.json").write_text("{}")
    assert "has no model yet" in vilbench(tmp_path / "training", "--dry-run", code=2).err
    puzzle_run(tmp_path / "run").close()
    assert "'vilbench report' makes it" in vilbench(tmp_path / "run", "--dry-run", code=2).err
    run = run_with_results(tmp_path / "whole")
    told = vilbench(model(tmp_path / "prm"), "--dry-run", "--benchmark", "a/b", code=2).err
    assert "'--benchmark': tells what the problems of --results are" in told
    told = vilbench(tmp_path / "prm", "--dry-run", "--results", run, code=2).err
    assert "no scorer of the run (prm) is the model in prm" in told
