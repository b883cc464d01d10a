"""The example of docs/search.md runs and gives what it says."""

from __future__ import annotations

import re
from pathlib import Path

from vilbench.search import Draw, Judge

PAGE = Path(__file__).parents[2] / "docs" / "search.md"


def test_the_example_gives_what_it_says() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    *lines, last = program.strip().split("\n")
    names: dict[str, object] = {}
    seen = []
    for line in lines:
        exec(line, names)  # noqa: S102 - our own page
        seen.append(names.get("asked"))
    first = Draw((), 2, 0, 1)
    assert seen[5] == [first]
    assert seen[6] == [Judge(("Step 1: 2 + 3 = 5.",)), Judge(("Step 1: 6.",))]
    assert seen[7] == [Draw(("Step 1: 2 + 3 = 5.",), 2, 0, 1)]
    call, said = last.split("  # ")
    assert eval(call, names) == eval(said)  # noqa: S307 - our own page
