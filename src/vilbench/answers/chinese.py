"""Chinese answers, brought to the forms that the rules know."""

from __future__ import annotations

import re
from typing import Final

_HAN: Final = re.compile(r"[\u3400-\u9fff]")
_EDGE: Final = re.compile(
    r"(?<=[\u3400-\u9fff])(?=[-+]?[A-Za-z0-9.(\[])|(?<=[A-Za-z0-9%°)\]])(?=[\u3400-\u9fff])"
)
_UNITS: Final = tuple(
    (re.compile(rf"(?<=\d)\s?(?:{word})"), f" {unit}")
    for word, unit in (
        ("平方厘米", "cm^2"),
        ("平方米", "m^2"),
        ("立方厘米", "cm^3"),
        ("立方米", "m^3"),
        ("千米|公里", "km"),
        ("厘米", "cm"),
        ("毫米", "mm"),
        ("米", "m"),
        ("千克|公斤", "kg"),
        ("克", "g"),
        ("小时", "hours"),
        ("分钟", "minutes"),
        ("秒", "seconds"),
        ("毫升", "ml"),
        ("升", "l"),
        ("度", "°"),
    )
)
_OPTION: Final = re.compile(r"选项|选择|选")
_DIGITS: Final = {digit: str(value) for value, digit in enumerate("零一二三四五六七八九十")} | {
    "两": "2"
}
_COUNT: Final = re.compile(
    r"(?<![\u3400-\u9fff])([零一二两三四五六七八九十])(?:个|只|条|人|种|辆|本|张|名|头|朵|棵)?[。.]?$"
)


def spaced(text: str) -> str:
    """`text` with spaces between Chinese and other words, and Chinese units translated.

    A text without Chinese comes back as it is.
    """
    if _HAN.search(text) is None:
        return text
    text = _COUNT.sub(lambda match: _DIGITS[match[1]], text)
    for word, unit in _UNITS:
        text = word.sub(unit, text)
    text = _OPTION.sub(" option ", text)
    return " ".join(_EDGE.sub(" ", text).split())
