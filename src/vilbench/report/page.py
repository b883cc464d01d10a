"""A stored run as one HTML file that loads nothing, runs nothing and shows everything."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vilbench.display import numerals
from vilbench.display.exhibit import COLOURS, Exhibit, display
from vilbench.display.text import name, visible
from vilbench.evaluate.results import Results
from vilbench.report import style
from vilbench.report.diagnosis import FILTERS, Diagnosis
from vilbench.report.evidence import Evidence, slice_label
from vilbench.report.figures import Figures
from vilbench.report.findings import ALL, FEWEST, Findings, sign
from vilbench.report.heat import Heat
from vilbench.report.plates import plates
from vilbench.report.power import DIFFERENCES, Power
from vilbench.report.spending import Spending, amount, memory

_JOINTS = re.compile(r"(?<=[/:])")
_REJECTED_SHOWN = 50
_REJECTED_LIMIT = 300
_COMMAND_LIMIT = 2_000


@dataclass(frozen=True)
class Provenance:
    """What it takes to have the run again.

    Attributes:
        command: The exact command line.
        versions: Package -> version, also datasets and checkpoints with their revisions.
        created: When the run was made, in words or ISO 8601; "" leaves it out.
    """

    command: str
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""


def render(
    results: Results,
    gallery: Sequence[Exhibit],
    provenance: Provenance | None = None,
    diagnosis: Diagnosis | None = None,
) -> str:
    """The report of a run as one self-contained HTML document.

    The page needs no script and no network; its policy forbids both. Text of models and
    datasets is shown as text, invisible characters included. An image that cannot be read
    is named as such and does not stop the page.

    Args:
        results: What the run has shown.
        gallery: Problems to show with their solutions, in this order; about a dozen.
        provenance: How to have the run again; None says that it is not recorded.
        diagnosis: What `diagnosis.html.jinja` shows, a section of the page; None leaves it out.
    """
    found = Findings(results)
    figures = Figures(found)
    css = stylesheet()
    histograms = {h.scorer: h for h in results.histograms}
    return (
        environment()
        .get_template("page.html.jinja")
        .render(
            results=results,
            found=found,
            figures=figures,
            plates=plates(figures, None if diagnosis is None else diagnosis.record),
            heat=Heat(found),
            power=Power(found),
            differences=DIFFERENCES,
            spending=Spending(found),
            evidence=Evidence(found),
            exhibits=[display(e, results.scorers, histograms) for e in gallery],
            provenance=provenance,
            diagnosis=diagnosis,
            style=Markup(css),  # noqa: S704 - our own file
            policy=policy(css),
            colours=range(COLOURS),
            rejected=results.rejected[:_REJECTED_SHOWN],
            rejected_left_out=max(0, len(results.rejected) - _REJECTED_SHOWN),
            all=ALL,
            fewest=FEWEST,
        )
    )


def policy(css: str) -> str:
    """Content security policy of a page whose only style block is `css`."""
    digest = base64.b64encode(hashlib.sha256(css.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def label(text: str) -> Markup:
    """A name that may wrap after a slash or a colon before it wraps anywhere else."""
    return Markup('<span class="name">{}</span>').format(
        Markup("<wbr>").join(_JOINTS.split(name(text)))
    )


def kept(text: str) -> str:
    """A sentence whose numbers stay on the line of their unit."""
    return text.replace(" %", "\u00a0%").replace(" points", "\u00a0points")


@cache
def stylesheet() -> str:
    """The rules of every page, the colours of figures among them."""
    parts = (("vilbench.display", "colours.css"), ("vilbench.report", "page.css"))
    read = (files(room).joinpath(name).read_text(encoding="utf-8") for room, name in parts)
    return "".join(read) + style.rules()


@cache
def environment() -> Environment:
    """Templates of the pages: all that they show is escaped."""
    made = Environment(
        loader=PackageLoader("vilbench.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(
        show=name,
        label=label,
        kept=kept,
        command=lambda text: visible(text, _COMMAND_LIMIT),
        reason=lambda text: visible(text, _REJECTED_LIMIT),
        percent=numerals.percent,
        percent_range=numerals.percent_range,
        points=numerals.points,
        points_range=numerals.points_range,
        p_value=numerals.p_value,
        auroc=numerals.auroc,
        count=numerals.count,
        sign=sign,
        amount=amount,
        memory=memory,
        part=slice_label,
        **FILTERS,
    )
    return made
