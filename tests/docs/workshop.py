"""What lies ready where a page is run: runs, a reward model, problems, rows, recipes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import source_data as sources
import table_data
import yaml
from page_recipes import embedded_with, is_part
from pages import Block, blocks
from programs import ended, smaller
from shell import Call, Within
from stand_ins import ADDRESSES, FILES, MODELS, RECIPES, SIZES
from training_data import rows, write_rows

import vilbench.recipes
from vilbench.cli import main
from vilbench.embedded import model_folder
from vilbench.problems import prepared
from vilbench.problems.sets import ProblemSet
from vilbench.testing import tiny_png
from vilbench.types import BytesSource, Image, Problem


@dataclass(frozen=True)
class Workshop:
    """Prepared once; every page gets a copy.

    Attributes:
        ready: What every page begins with.
        copies: A file or a folder for each benchmark, by its name.
        recipes: The shipped recipes, with what stands in.
        environment: Of every block.
        chat: Address of the server of chat completions.
    """

    ready: Path
    copies: Path
    recipes: Path
    environment: Mapping[str, str]
    chat: str

    def stood_in(self, text: str, served: str = "") -> str:
        """A block's text with what stands in for models and addresses."""
        for old, new in {**MODELS, **SIZES, **ADDRESSES}.items():
            text = text.replace(old, new.format(chat=self.chat, served=served))
        return text

    def at(self, folder: Path) -> list[Path]:
        """Makes a copy of what lies ready; gives the folders that a page may make itself."""
        shutil.copytree(self.ready, folder)
        return [*(folder / "runs").iterdir(), folder / "collected"]


def set_up(folder: Path, chat: str) -> Workshop:
    """Makes all of it; takes some seconds."""
    environment = {
        "HOME": str(folder / "home"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENAI_API_KEY": "none",
        "SERVED_TOKEN": "none",
        "VILBENCH_DATA": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "NO_PROXY": "*",
    }
    made = Workshop(folder / "ready", folder / "copies", folder / "recipes", environment, chat)
    made.ready.mkdir()
    _benchmarks(made)
    _recipes(made)
    _files(made)
    _training_rows(made.ready)
    _runs(made)
    return made


def block_of(name: str) -> Block:
    """The block that a file of the table shows.

    Raises:
        AssertionError: The page has none, or several.
    """
    source = FILES[name]
    found = [one for one in blocks(source.page) if source.holds in one.text]
    assert len(found) == 1, f"{source.page} has {len(found)} blocks that hold {source.holds!r}"
    return found[0]


def _recipes(made: Workshop) -> None:
    shipped = Path(vilbench.recipes.__file__).parent
    shutil.copytree(shipped, made.recipes, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    for name, changes in RECIPES.items():
        path = made.recipes / name
        text = path.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert old in text, f"{name} holds no {old!r} any more"
            text = text.replace(old, new.format(chat=made.chat))
        path.write_text(text, encoding="utf-8")


def _files(made: Workshop) -> None:
    for name in FILES:
        text = made.stood_in(block_of(name).text)
        if is_part(name, text):
            text = yaml.safe_dump(embedded_with(text))
        (made.ready / name).write_text(text, encoding="utf-8")
    pictures = made.ready / "img"
    pictures.mkdir()
    for name, colour in (("dogs.jpg", "red"), ("a.png", "teal")):
        (pictures / name).write_bytes(tiny_png(colour, (64, 48)))


def _training_rows(ready: Path) -> None:
    few = rows(groups=4, siblings=4)
    for name in (".", "build/labels/train", "build/labels/dev", "collected"):
        folder = ready / name
        folder.mkdir(parents=True, exist_ok=True)
        write_rows(folder, few)
    folder = ready / "ViLReward-73K"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "1.png").write_bytes(tiny_png("red", (64, 48)))
    entries: list[dict[str, Any]] = []
    for place in range(6):
        process = ""
        for step in range(2):
            process += f"Step {step + 1}: I look at number {place}.\n"
            entries.append(
                {
                    "image_path": "1.png",
                    "question": f"What is number {place}?",
                    "process": process,
                    "value": (place + step) % 3 / 2,
                }
            )
    text = json.dumps(entries)
    (folder / "vilreward_73k_train.json").write_text(text, encoding="utf-8")


def _benchmarks(made: Workshop) -> None:
    """A copy of each benchmark, and a prepared set of ViLBench."""
    copies = made.copies
    table_data.parquet(copies / "mmstar" / "mmstar.parquet", sources.MMSTAR)
    for place, row in enumerate(sources.MMMU_STANDARD):
        name = f"test-{place:05}-of-{len(sources.MMMU_STANDARD):05}.parquet"
        path = copies / "mmmu-pro" / "standard (10 options)" / name
        table_data.parquet(path, [row], sources.mmmu_schema(row))
    vista = copies / "mathvista" / "data" / "testmini-00000-of-00001.parquet"
    table_data.parquet(vista, sources.MATHVISTA, sources.MATHVISTA_SCHEMA)
    table_data.parquet(copies / "mathverse" / "testmini.parquet", sources.MATHVERSE)
    world = copies / "realworldqa" / "data" / "test-00000-of-00001.parquet"
    table_data.parquet(world, sources.REALWORLDQA)
    picture = Image.of(BytesSource(tiny_png("red", (64, 48))))
    problems = tuple(
        Problem(
            id=f"v{place}",
            source="ViLBench",
            question=f"Which of the two, for number {place}?",
            images=(picture,),
            answer="A",
            answer_kind="choice",
            choices=("this", "that"),
        )
        for place in range(2)
    )
    with Within(Call(("vilbench",), made.ready, made.environment)):
        folder = prepared.default_folder("vilbench:test")
        prepared.write(ProblemSet("vilbench:test", problems), folder, "none", None)
        for path in sorted(copies.iterdir()):
            _vilbench("problems", "prepare", path.name, "--path", path)


def _runs(made: Workshop) -> None:
    runs = made.ready / "runs"
    runs.mkdir()
    solver = ("--engine", "embedded:base", "--problems", "puzzles:dev")
    with Within(Call(("vilbench",), made.ready, made.environment)):
        for words in (
            ("demo",),
            ("run", "both.yaml", "--problems", "puzzles:dev", "--out", "runs/dev"),
            ("sample", "embedded", *solver, "--out", "runs/base"),
        ):
            _vilbench(*smaller(("vilbench", *words), made.copies)[1:])
    for name, other in (("test", "demo"), ("a", "dev"), ("b", "base"), ("c", "dev")):
        shutil.copytree(runs / other, runs / name)
    for name in ("train", "vilprm"):
        shutil.copytree(model_folder("embedded:vilprm"), runs / name / "prm")


def _vilbench(*words: object) -> None:
    sys.argv = ["vilbench", *map(str, words)]
    said = ended(main)
    assert said.code == 0, said.text
