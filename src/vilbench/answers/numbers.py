"""Numbers with their units, read exactly out of wording.

Only plain numbers and powers of ten are read: "2√3", "3 + 4", "2^5", "1:2" and "(1,2)" hold
none, "10^{-3}" and "10⁵" do. A mark of a footnote behind a 10 is taken for a power.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

_DIGITS = r"\d{1,200}"
_POWER = r"[-+]?\d{1,3}"
_NUMBER = re.compile(
    rf"""
    (?<![\w^\\.])(?<!\d[,:'])
    (?P<sign>[-+]\s?)?
    (?:
        (?:(?P<whole>\d{{1,40}})\s)?(?P<over>{_DIGITS})\s?/\s?(?P<under>{_DIGITS})
      | 10\^\s?(?:\{{\s?(?P<braced>{_POWER})\s?(?:\}}|$)|(?P<bare>{_POWER}))
      | (?P<decimal>(?:\d{{1,3}}(?:,\d{{3}}){{1,40}}|{_DIGITS})(?:\.{_DIGITS})?|\.{_DIGITS})
        (?:
            e(?P<e>[-+]?\d{{1,3}})
          | \s?(?:×|x|\*|·|\\times|\\cdot)\s?10\s?\^\s?\{{?\s?(?P<power>[-+]?\d{{1,3}})\s?\}}?
        )?
    )
    (?!\d|[.,:']\d|e[-+]?\d)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OPERATOR_BEFORE = re.compile(r"\\(?:times|cdot|ast|div)\s?$")
_OPERATOR_AFTER = re.compile(
    r"\s?(?:[\^√π/+×÷·]|\*\s?[\w(]|[-–]\s?[\d(]|\\[a-z]|[xyz]\b)", re.IGNORECASE
)
_UNIT = re.compile(
    r"\s?-?(?:(?P<power_word>sq(?:uare)?\.?|cu(?:bic)?\.?)\s)?(?P<name>[A-Za-z]{1,20}|[°%])"
    r"(?:\s?\^?\s?\{?(?P<power>[23])\}?(?!\d))?"
)
_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen"
    " fifteen sixteen seventeen eighteen nineteen twenty"
)
_WORD = re.compile(rf"\b(?:{_WORDS.replace(' ', '|')})\b", re.IGNORECASE)
_TIMES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_MANY = re.compile(rf"\s({'|'.join(_TIMES)})\b", re.IGNORECASE)
_AND = re.compile(r"\s?(?:,|and\b)?\s?", re.IGNORECASE)
_LARGEST_EXPONENT = 50

_UNITS: dict[str, tuple[str, Fraction]] = {
    name: (dimension, Fraction(factor))
    for dimension, factor, names in (
        ("length", "0.001", "mm millimeter millimeters millimetre millimetres"),
        ("length", "0.01", "cm centimeter centimeters centimetre centimetres"),
        ("length", "1", "m meter meters metre metres"),
        ("length", "1000", "km kilometer kilometers kilometre kilometres"),
        ("length", "0.0254", "in inch inches"),
        ("length", "0.3048", "ft foot feet"),
        ("length", "0.9144", "yd yard yards"),
        ("length", "1609.344", "mi mile miles"),
        ("mass", "0.001", "mg milligram milligrams"),
        ("mass", "1", "g gram grams"),
        ("mass", "1000", "kg kilogram kilograms"),
        ("mass", "453.59237", "lb lbs pound pounds"),
        ("time", "1", "s sec secs second seconds"),
        ("time", "60", "min mins minute minutes"),
        ("time", "3600", "h hr hrs hour hours"),
        ("volume", "0.001", "ml mL milliliter milliliters millilitre millilitres"),
        ("volume", "1", "l L liter liters litre litres"),
        ("money", "0.01", "cent cents"),
        ("money", "1", "dollar dollars usd"),
        ("angle", "1", "° deg degree degrees"),
        ("share", "1", "% percent"),
    )
    for name in names.split()
}


class Unit(NamedTuple):
    """A known unit: its dimension, as "length^2", and its size in the dimension's own."""

    dimension: str
    power: int
    factor: Fraction


class Quantity(NamedTuple):
    """A number as it stands in a text, with the unit that follows it if that is known."""

    value: Fraction
    unit: Unit | None
    start: int
    end: int


def unit_of(text: str) -> Unit | None:
    """The unit that `text` begins with, None when it is not a known one."""
    match = _UNIT.match(text)
    return _known(match) if match else None


def _known(match: re.Match[str]) -> Unit | None:
    name = match["name"]
    known = _UNITS.get(name.lower() if len(name) > 2 else name)
    if known is None or (name == "in" and re.compile(r"\s?\w").match(match.string, match.end())):
        return None  # "5 in total" is no length
    words = {"s": 2, "c": 3}
    power = int(match["power"] or words.get((match["power_word"] or "")[:1], 1))
    return Unit(known[0], power, known[1] ** power)


def quantities(text: str) -> list[Quantity]:
    """The plain numbers of `text` (see `wording.plain`), in order.

    "2 hours 30 minutes" is one quantity, in the first unit. Number words up to twenty count
    where the text has no digit.
    """
    found: list[Quantity] = []
    for match in _NUMBER.finditer(text):
        value = _value(match)
        if value is None or not _stands_alone(text, match):
            continue
        quantity = _measured(text, value, match)
        joined = _joined(text, found[-1], quantity) if found else None
        if joined is not None:
            found[-1] = joined
        else:
            found.append(quantity)
    if not found and not re.search(r"\d", text):
        names = _WORDS.split()
        found.extend(
            _measured(text, Fraction(names.index(match[0].lower())), match)
            for match in _WORD.finditer(text)
        )
    return found


def _measured(text: str, value: Fraction, number: re.Match[str]) -> Quantity:
    end = number.end()
    if many := _MANY.match(text, end):
        value, end = value * _TIMES[many[1].lower()], many.end()
    match = _UNIT.match(text, end)
    unit = _known(match) if match else None
    end = match.end() if match and unit else end
    return Quantity(value, unit, number.start(), end)


def _joined(text: str, last: Quantity, more: Quantity) -> Quantity | None:
    """The sum where `more` goes on with a smaller unit, as the minutes after the hours."""
    large, small = last.unit, more.unit
    if large is None or small is None or large[:2] != small[:2] or small.factor >= large.factor:
        return None
    if not _AND.fullmatch(text, last.end, more.start):
        return None
    value = last.value + more.value * small.factor / large.factor
    return Quantity(value, large, last.start, more.end)


def _value(match: re.Match[str]) -> Fraction | None:
    sign = -1 if (match["sign"] or "").startswith("-") else 1
    if match["over"]:
        under = int(match["under"])
        if under == 0:
            return None
        return sign * (int(match["whole"] or 0) + Fraction(int(match["over"]), under))
    exponent = int(match["e"] or match["power"] or match["braced"] or match["bare"] or 0)
    if abs(exponent) > _LARGEST_EXPONENT:
        return None  # "1e999999999" must not fill the memory
    value = sign * Fraction((match["decimal"] or "1").replace(",", ""))
    return value * Fraction(10) ** exponent if exponent else value


def _stands_alone(text: str, match: re.Match[str]) -> bool:
    """Whether the number is no operand of an expression."""
    before = text[max(0, match.start() - 3) : match.start()]
    last = before.rstrip()[-1:]
    sign = match["sign"]
    if sign and last:
        # "x-5", "7 -5" and "x - 5" subtract; "is -5" and "= - 5" have a sign.
        if last.isdigit() or last in ")]}°%^_" or (last.isalpha() and sign[-1].isspace()):
            return False
        opened = text[max(0, match.start() - 12) : match.start()].rstrip("{ ")[-1:]
        if last == "{" and re.match(r"[\w^}]", opened):  # of "10^{-3}"
            return False
    elif last and (last in "^√*/+×·÷_{" or before[-1] in "-–"):
        return False
    if _OPERATOR_BEFORE.search(text, max(0, match.start() - 8), match.start()):
        return False
    return _OPERATOR_AFTER.match(text, match.end()) is None


def converted(quantity: Quantity, unit: str | None) -> Fraction | None:
    """The value of `quantity` in `unit`; None where the two measure different things.

    A unit that is not known, on either side, is ignored, and so is one of another power:
    who answers "12 cm" where an area is asked still says 12.
    """
    wanted = unit_of(unit) if unit else None
    given = quantity.unit
    if wanted is None or given is None:
        return quantity.value
    if wanted.dimension != given.dimension:
        return None
    if wanted.power != given.power:
        return quantity.value
    return quantity.value * given.factor / wanted.factor


def canonical(value: Fraction) -> str:
    """A decimal without trailing zeros where it ends within 20 places, else "p/q"."""
    numerator, denominator = value.as_integer_ratio()
    if denominator == 1:
        return str(numerator)
    scale = 10**20
    if scale % denominator:
        return f"{numerator}/{denominator}"
    whole, rest = divmod(abs(numerator) * (scale // denominator), scale)
    sign = "-" if numerator < 0 else ""
    return f"{sign}{whole}.{rest:020d}".rstrip("0")


def rounded(value: Fraction, precision: int) -> int:
    """`value` in units of its last counting decimal, halves away from zero."""
    scaled = abs(value) * 10**precision
    units = int((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator))
    return units if value >= 0 else -units
