"""What must not leave the machine in a text: secrets, and where its user keeps things."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

SECRET: Final = "<secret>"  # noqa: S105 - what stands for one
HOME: Final = "~"

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_SHORTEST = 12
"""Characters of an environment variable's value from which it can be a secret."""

_FORMS = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"hf_[A-Za-z0-9]{20,100}"
    r"|sk-[A-Za-z0-9_-]{20,200}"
    r"|gh[pousr]_[A-Za-z0-9]{30,100}"
    r"|github_pat_[A-Za-z0-9_]{30,100}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|xox[abprs]-[A-Za-z0-9-]{10,100}"
    r"|-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"
    r")"
)
"""How the keys of well-known services look."""

_USER_OF_ADDRESS = re.compile(r"(?<=://)[^\s/@:]{1,200}:[^\s/@]{1,200}@")
_QUERY_OF_ADDRESS = re.compile(r"(https?://[^\s?\"'<>]{1,500})\?[^\s\"'<>]{1,2000}")
_PART = r"[^\s\"'<>|;,:/\\]"
_PATH = re.compile(
    rf"(?<![\w:/\\.~<>])(?:(?:~|[A-Za-z]:)?(?:/{_PART}{{1,255}})+/?|[A-Za-z]:(?:\\{_PART}{{1,255}})+)"
)
"""A path from the root of a disk or from somebody's home."""


class Screen:
    """Takes secrets and own places out of texts, and counts them.

    Args:
        places: Folders that are the user's own: the home, the current folder.
        secrets: Texts that must not be seen.

    Attributes:
        counts: What was replaced: "secrets" and "paths of this machine".
    """

    def __init__(self, places: Collection[str] = (), secrets: Collection[str] = ()) -> None:
        longest = sorted({place.rstrip("/\\") for place in places} - {""}, key=len, reverse=True)
        self._own = re.compile(
            rf"(?<![\w./\\~-])(?:{'|'.join(map(re.escape, longest))})(?:[/\\]{_PART}{{0,255}})*"
            r"(?![\w-])"
            if longest
            else r"(?!)"
        )
        self._places = frozenset(longest)
        known = sorted(set(secrets), key=len, reverse=True)
        self._secret = re.compile("|".join(map(re.escape, known)) if known else r"(?!)")
        self.counts: Counter[str] = Counter()

    @classmethod
    def of(cls, environment: Mapping[str, str], home: Path, here: Path) -> Screen:
        """The screen of a user: values of variables that are named like secrets count as such."""
        secrets = {
            value
            for name, value in environment.items()
            if _SECRET_NAME.search(name) and len(value) >= _SHORTEST and not Path(value).exists()
        }
        # A home directly below the root, or the root as the current folder, is everybody's.
        places = {str(one) for one in (home, here) if len(one.parts) > 2}
        return cls(places, secrets)

    @classmethod
    def here(cls) -> Screen:
        """The screen of whoever runs this process."""
        return cls.of(os.environ, Path.home(), Path.cwd())

    def text(self, text: str) -> str:
        """Data: only secrets and the user's own places are replaced, other paths are content."""
        for pattern in (self._secret, _FORMS, _USER_OF_ADDRESS):
            put = SECRET + "@" if pattern is _USER_OF_ADDRESS else SECRET
            text = self._replaced(pattern, text, put, "secrets")
        return self._own.sub(self._shortened, text)

    def told(self, text: str) -> str:
        """What tells how something was made: of every absolute path its last part is left."""
        text = self._replaced(_QUERY_OF_ADDRESS, text, r"\1", "secrets")
        return _PATH.sub(self._shortened, self.text(text))

    def data(self, value: Any) -> Any:
        """The same as `text` for all texts within lists and mappings."""
        return _each(value, self.text)

    def recipe(self, value: Any) -> Any:
        """The same as `told` for all texts within lists and mappings."""
        return _each(value, self.told)

    def _replaced(self, pattern: re.Pattern[str], text: str, put: str, what: str) -> str:
        replaced, count = pattern.subn(put, text)
        if count:
            self.counts[what] += count
        return replaced

    def _shortened(self, found: re.Match[str]) -> str:
        whole = found.group()
        path = whole.rstrip("/\\")
        self.counts["paths of this machine"] += 1
        if path in self._places or path in ("", "~"):
            return HOME
        return re.split(r"[/\\]", path)[-1]

    def summary(self) -> tuple[str, ...]:
        """What was replaced, in words."""
        return tuple(f"{what} replaced: {count}" for what, count in sorted(self.counts.items()))


def _each(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _each(one, change) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each(one, change) for one in value]
    return value
