"""What `vilbench export` publishes: a folder, the hub, or a look at what would be."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from vilbench.cli import rows
from vilbench.cli.screen import say
from vilbench.collect.data import DataConfig
from vilbench.collect.export import Labelling
from vilbench.embedded import PREFIX, model_folder
from vilbench.errors import InputError
from vilbench.publish import data, hub, model, problem_set, results
from vilbench.publish.evaluation import Benchmark
from vilbench.publish.index import write_index
from vilbench.publish.inspect_log import write_log
from vilbench.publish.privacy import Screen
from vilbench.publish.publication import Publication, refuse_foreign, write
from vilbench.publish.recognise import Found, Kind, recognise
from vilbench.store.run import Run


@dataclass(frozen=True)
class Asked:
    """What the command was asked to publish, and where to.

    Attributes:
        to: Folder to write to; None for none.
        target: Repository; None for none.
        dry_run: Show it alone.
        kind: What the folder is to be published as, where it can be several things.
        trees: Options that say how trees become data, by their names.
        consensus: Run of another policy.
        runs: Runs whose figures stand in a model's card.
        benchmark: What their problems are on the hub.
        title: Heading of the card.
        license: For the card.
    """

    to: Path | None
    target: hub.Target | None
    dry_run: bool
    kind: str | None
    trees: Mapping[str, object]
    consensus: Path | None
    runs: Sequence[Path]
    benchmark: str | None
    title: str | None
    license: str | None


def publish(folder: Path, asked: Asked) -> None:
    """Writes, uploads or shows what a folder, or a model that ships, publishes.

    Raises:
        InputError: The folder is nothing that can be published, options are of another kind of
            thing, what is there is no earlier export, or the hub refuses.
        RunError: It is a run that cannot be used.
    """
    if asked.to is None and asked.target is None and not asked.dry_run:
        raise InputError("give --to FOLDER, --to-hub OWNER/NAME, or --dry-run", field="--to")
    named = str(folder)
    place = model_folder(named) if named.startswith(PREFIX) else folder
    found = recognise(place, _kind(asked.kind))
    _refuse_own(found.folder, asked.to)
    if asked.to is not None:
        refuse_foreign(asked.to)
    _refuse_what_does_nothing(found, asked)
    with tempfile.TemporaryDirectory(prefix="vilbench-export-") as room:
        made = _made(found, asked, Path(room))
        _tell(made)
        if asked.dry_run:
            _show(made, asked)
            return
        if asked.to is not None:
            write(made, asked.to)
            say(f"{made.what}: {asked.to}")
        if asked.target is not None:
            say(f"uploaded: {hub.upload(made, asked.target)}")


def _refuse_own(folder: Path, to: Path | None) -> None:
    """A folder that is read is not written to.

    Raises:
        InputError: They are the same.
    """
    if to is not None and to.resolve() == folder.resolve():
        raise InputError("is the folder itself; export to another", field="--to")


def _kind(name: str | None) -> Kind | None:
    if name is None:
        return None
    if name not in tuple(Kind):
        raise InputError(f"'{name}' is none of {', '.join(Kind)}", field="--as")
    return Kind(name)


def _refuse_what_does_nothing(found: Found, asked: Asked) -> None:
    models = {"--results": asked.runs, "--benchmark": asked.benchmark}
    of_a_model = [name for name, given in models.items() if given]
    of_trees = [*asked.trees, *([] if asked.consensus is None else ["--consensus"])]
    if found.kind is not Kind.MODEL and of_a_model:
        raise InputError(f"is for a model, and this is {found.kind}", field=of_a_model[0])
    if found.kind is not Kind.DATA and of_trees:
        hint = "; --as data takes the trees" if Kind.DATA in found.kinds else ""
        raise InputError(f"is for trees, and this is {found.kind}{hint}", field=of_trees[0])
    if asked.benchmark and not asked.runs:
        raise InputError("tells what the problems of --results are", field="--benchmark")


def _made(found: Found, asked: Asked, room: Path) -> Publication:
    screen = Screen.here()
    repository = None if asked.target is None else asked.target.repository
    if found.kind is Kind.MODEL:
        return model.model(
            found.folder,
            screen,
            title=asked.title or repository or _name(found),
            license=asked.license,
            training=found.training,
            runs=asked.runs,
            benchmark=None if asked.benchmark is None else Benchmark.parse(asked.benchmark),
            target=asked.target,
        )
    if found.kind is Kind.PROBLEMS:
        return problem_set.problem_set(
            *(found.folder, room, screen),
            title=asked.title,
            license=asked.license,
            target=asked.target,
        )
    with ExitStack() as stack:
        run = stack.enter_context(Run.read(found.folder))
        if found.kind is Kind.RESULTS:
            return results.results(
                *(run, room, screen),
                title=asked.title,
                license=asked.license,
                target=asked.target,
            )
        second = None
        if asked.consensus is not None:
            second = stack.enter_context(Run.read(asked.consensus))
        return _training_data(run, room, screen, asked, second)


def _training_data(
    run: Run, room: Path, screen: Screen, asked: Asked, second: Run | None
) -> Publication:
    from vilbench.cli import job

    labelling = Labelling(asked.title, asked.license, job.command_line(sys.argv[1:]))
    config: DataConfig = rows.configured(asked.trees)
    made, summary = data.training_data(
        run, room, screen, config, second=second, labelling=labelling
    )
    for line in rows.told(summary):
        say(line)
    return made


def _name(found: Found) -> str:
    """A model's name: of its folder, or of the training that has one in it."""
    place = found.folder.resolve()
    return place.parent.name if found.training is not None else place.name


def _tell(made: Publication) -> None:
    for remark in made.remarks:
        say(f"note: {remark}")


def _show(made: Publication, asked: Asked) -> None:
    say(f"{made.what}, {len(made.entries)} files, {_bytes(made.size)}:")
    for entry in made.entries:
        say(f"  {_bytes(entry.size):>10}  {entry.name}")
    for left in made.left_out:
        say(f"left out: {left.name}: {left.why}")
    say("the card:")
    for line in made.card.splitlines():
        say(f"  {line}")
    if asked.to is not None:
        say(f"nothing was written; it would be to {asked.to}")
    if asked.target is not None:
        seen = "private" if asked.target.private else "public"
        branch = asked.target.revision or "the main branch"
        say(
            f"nothing was uploaded; it would be to {asked.target.repository} "
            f"({made.repo_type}, {seen} if it is new, {branch})"
        )


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("every size has a unit")


def inspect(folder: Path, to: Path) -> None:
    """Writes a run as a log of Inspect AI."""
    _refuse_own(folder, to)
    screen = Screen.here()
    with Run.read(folder) as run:
        path = write_log(run, to, screen)
    for remark in screen.summary():
        say(f"note: {remark}")
    say(f"inspect log: {path}")


def index(folder: Path, to: Path, of: str | None, title: str | None, benchmark: str | None) -> None:
    """Writes a run's figures of one model as the hub reads them."""
    _refuse_own(folder, to)
    screen = Screen.here()
    named = None if benchmark is None else Benchmark.parse(benchmark)
    with Run.read(folder) as run:
        done = write_index(run, to, screen, of=of, title=title, benchmark=named)
    for remark in screen.summary():
        say(f"note: {remark}")
    if not done.named:
        say("note: the hub knows no such problems; --benchmark OWNER/NAME:TASK names them")
    say(f"figures of {done.of}: {', '.join(done.files)}: {to}")
