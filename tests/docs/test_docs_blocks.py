"""Every block of every page is what it says: commands run, programs run, recipes are read.

A page is run from its top to its end in a folder of its own, where some runs, problems and
rows lie ready (`workshop`). What stands in for hosted models, servers and hours of work is
listed in `stand_ins`, and nothing else differs from what a reader types.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_server import ChatServer
from page_recipes import check
from pages import PYTHON, SHELL, YAML, Block, blocks, pages
from programs import Programs, ended
from shell import Call, Shell, Within
from stand_ins import DRAWN, OWN_TESTS
from workshop import Workshop, set_up

import vilbench.cli.job
import vilbench.recipes

PAGES = [page for page in pages() if any(one.language for one in blocks(page))]


@pytest.fixture(scope="module")
def chat() -> Iterator[ChatServer]:
    with ChatServer() as running:
        yield running


@pytest.fixture(scope="module")
def workshop(chat: ChatServer, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vilbench.cli.job, "render", lambda *_: "<!doctype html>")
        return set_up(tmp_path_factory.mktemp("workshop"), chat.url)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs(
    page: str, workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vilbench.recipes, "files", lambda _: workshop.recipes)
    if page not in DRAWN:
        monkeypatch.setattr(vilbench.cli.job, "render", lambda *_: "<!doctype html>")
    folder = tmp_path / "page"
    programs = Programs(workshop.at(folder), workshop.copies)
    names: dict[str, object] = {"__name__": "__main__"}
    with Shell(programs.table()) as shell:
        try:
            for one in blocks(page):
                text = workshop.stood_in(one.text, programs.served)
                if one.language in SHELL:
                    said = shell.run(text, folder, workshop.environment)
                    assert said.code == 0, f"{one}\n{text}\n{said.text}"
                elif one.language in YAML:
                    with Within(Call(("vilbench",), folder, workshop.environment)):
                        check(text, tmp_path / "block.yaml")
                elif one.language in PYTHON and page not in OWN_TESTS:
                    _execute(one, text, Call(("python",), folder, workshop.environment), names)
        finally:
            programs.stop()


def _execute(block: Block, text: str, call: Call, names: dict[str, object]) -> None:
    def program() -> None:
        exec(compile(text, str(block), "exec"), names)  # noqa: S102 - our own page

    with Within(call):
        os.environ.setdefault("HOME", str(call.folder))
        said = ended(program)
    assert said.code == 0, f"{block}\n{said.text}"
