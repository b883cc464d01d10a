"""What `vilbench report` writes beside a run's own files: comparisons, figures, LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vilbench import config
from vilbench.cli import job
from vilbench.cli.screen import say
from vilbench.diagnostics.records import Diagnostics
from vilbench.errors import InputError
from vilbench.evaluate.results import Results
from vilbench.evaluate.sidebyside import Measured, measured
from vilbench.report.comparison import Comparison, render_comparison
from vilbench.report.figures import Figures
from vilbench.report.findings import Findings
from vilbench.report.latex import latex_comparison, latex_table
from vilbench.report.plates import plates, write
from vilbench.report.table import comparison_lines
from vilbench.store.disk import replacing, storage_errors
from vilbench.store.run import Run


def compare(
    folders: Sequence[Path], out: Path | None, figures: Path | None, latex: Path | None, line: str
) -> None:
    """Writes one page over several runs, and its figures and table where asked for.

    Raises:
        InputError: A run is named twice.
        RunError: One cannot be read, or has nothing to compare; the file cannot be written.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise InputError("a run is named twice; compare it with others", field="RUN")
    runs = [_measured(folder) for folder in folders]
    found = Comparison(tuple(runs))
    path = out or folders[0].absolute().parent / "comparison.html"
    _write(path, render_comparison(runs, line))
    if latex is not None:
        _tell(latex, latex_comparison(found))
    if figures is not None:
        _tell_files(write(list(found.plates.values()), figures), figures)
    for text in comparison_lines(found):
        say(text)
    say(f"comparison: {path if out else path.name + f' in {folders[0].parent}'}")


def _measured(folder: Path) -> Measured:
    with Run.read(folder) as run:
        return measured(folder.name, run, config.plan(job.recipe_of(run)))


def beside(
    folder: Path, results: Results, out: Path | None, figures: Path | None, latex: Path | None
) -> None:
    """Writes what was asked for beside the report of one run.

    Raises:
        RunError: A file cannot be written.
    """
    if out is not None:
        _tell(out, (folder / "report.html").read_text(encoding="utf-8"))
    if latex is not None:
        _tell(latex, latex_table(results))
    if figures is not None:
        written = (folder / "diagnostics.json").read_text(encoding="utf-8")
        made = plates(Figures(Findings(results)), Diagnostics.model_validate_json(written))
        _tell_files(write(list(made.values()), figures), figures)


def _write(path: Path, text: str) -> None:
    with storage_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(text.encode())


def _tell(path: Path, text: str) -> None:
    """Writes a file and says so."""
    _write(path, text)
    say(f"written: {path}")


def _tell_files(files: Sequence[Path], folder: Path) -> None:
    say(f"figures: {len(files)} files in {folder}")
