"""A figure of matplotlib as the plainest SVG: no script, no reference, no style attribute.

The page's policy forbids inline style, and the names that matplotlib gives to parts would
meet those of the next figure. So styles become attributes, what is drawn by reference is
drawn in place, and the only names are those of cells that have a title of their own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG = "{http://www.w3.org/2000/svg}"
_LINK = "{http://www.w3.org/1999/xlink}href"
_NUMBER = re.compile(r"-?\d+\.\d+")
_FONT = re.compile(r"([\d.]+)px")
_UNTURNED = re.compile(r"rotate\(-?0(?:\.0*)?[ )]")
_KEPT = frozenset(
    {
        *("fill", "fill-opacity", "font-size", "font-weight", "opacity", "stroke"),
        *("stroke-dasharray", "stroke-linecap", "stroke-linejoin", "stroke-opacity"),
        *("stroke-width", "text-anchor"),
    }
)
_GEOMETRY = frozenset({"d", "x", "y", "width", "height", "transform"})


def written(
    figure: Figure, title: str, desc: str, titles: Mapping[str, str] | None = None
) -> Markup:
    """The figure as one element for the page.

    Args:
        figure: Made under `style.drawing`.
        title: Read out instead of the figure.
        desc: What the figure shows, longer.
        titles: What the part whose `gid` is the key shows on its own.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    # Our own drawing, all text in it escaped by the library that wrote it.
    root = fromstring(buffer.getvalue())  # noqa: S314
    shapes = {
        str(one.get("id")): one
        for defs in root.iter(f"{_SVG}defs")
        for one in defs
        if one.get("id")
    }
    drawn = Element("svg", viewBox=_short(root.get("viewBox", "")), role="img")
    drawn.set("class", "chart")
    SubElement(drawn, "title").text = title
    SubElement(drawn, "desc").text = desc
    for part in root:
        drawn.extend(_plain(part, shapes, titles or {}))
    return Markup(tostring(drawn, encoding="unicode"))  # noqa: S704 - our own elements


def file(svg: Markup) -> bytes:
    """An element of the page as a file on its own, upon white."""
    head = '<svg xmlns="http://www.w3.org/2000/svg" font-family="Helvetica, Arial, sans-serif" '
    back = '<rect width="100%" height="100%" fill="#ffffff" />'
    text = str(svg).replace("<svg ", head, 1).replace("</desc>", f"</desc>{back}", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'.encode()


def _plain(
    part: Element, shapes: Mapping[str, Element], titles: Mapping[str, str]
) -> Iterator[Element]:
    """A part without what the page has no need of; groups dissolve unless they have a title."""
    tag = part.tag.removeprefix(_SVG)
    if tag == "g":
        inside = [one for child in part for one in _plain(child, shapes, titles)]
        told = titles.get(part.get("id", ""))
        if told is None:
            yield from inside
        else:
            group = Element("g")
            SubElement(group, "title").text = told
            group.extend(inside)
            yield group
    elif tag == "use":
        shape = shapes[part.get(_LINK, "").removeprefix("#")]
        place = f"translate({part.get('x', '0')} {part.get('y', '0')})"
        yield _element(
            "path",
            _attributes(part) | _attributes(shape) | {"transform": _short(place)},
            ("x", "y"),
        )
    elif tag in ("path", "text", "rect"):
        made = _element(tag, _attributes(part), ())
        made.text = part.text if tag == "text" else None
        if made.get("fill") != "none" or made.get("stroke", "none") != "none":
            yield made


def _element(tag: str, attributes: Mapping[str, str], without: tuple[str, ...]) -> Element:
    return Element(tag, {key: value for key, value in attributes.items() if key not in without})


def _attributes(part: Element) -> dict[str, str]:
    found = {key: _short(value) for key, value in part.attrib.items() if key in _GEOMETRY}
    if _UNTURNED.match(found.get("transform", "")):
        del found["transform"]
    for pair in part.get("style", "").split(";"):
        key, _, value = (one.strip() for one in pair.partition(":"))
        size = _FONT.search(value)
        if key == "font" and size:
            key, value = "font-size", size.group(1)
        if key in _KEPT:
            found[key] = value.removesuffix("px") if key == "font-size" else _short(value)
    return found


def _short(text: str) -> str:
    """Numbers with two decimals at most, blanks one by one."""
    return " ".join(
        _NUMBER.sub(lambda m: f"{float(m.group()):z.2f}".rstrip("0").rstrip("."), text).split()
    )
