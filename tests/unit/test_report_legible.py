"""Who cannot see a report is told what its tables and figures are."""

from __future__ import annotations

import re
from itertools import pairwise

from report_data import make_exhibit
from test_report_comparison import made
from test_report_diagnosis import BAD, CLEAN, record
from test_report_page import Page
from test_report_plates import full

from vilbench.report.comparison import render_comparison
from vilbench.report.diagnosis import Diagnosis
from vilbench.report.page import render


def pages() -> list[str]:
    report = render(full(), [make_exhibit(1)], None, Diagnosis(record(CLEAN, BAD)))
    return [report, render_comparison([made("a"), made("b")])]


def test_every_table_has_a_caption() -> None:
    for page in pages():
        tags = [tag for tag, _ in Page(page).tags]
        following = [after for tag, after in pairwise(tags) if tag == "table"]
        assert len(following) > 3
        assert set(following) == {"caption"}
        captions = re.findall(r"<caption>(.*?)</caption>", page)
        assert all(re.sub("<.*?>", "", caption).strip() for caption in captions)


def test_what_scrolls_is_reached_by_keys_and_named() -> None:
    for page in pages():
        regions = [told for tag, told in Page(page).tags if told.get("class") == "scroll"]
        assert len(regions) > 3
        for told in regions:
            assert (told["tabindex"], told["role"]) == ("0", "region")
            assert told["aria-label"]


def test_every_figure_has_a_title_and_says_what_it_shows() -> None:
    for page in pages():
        figures = re.findall(r'<svg [^>]*class="chart"[^>]*>(.*?)</svg>', page, re.DOTALL)
        assert len(figures) > 2
        for figure in figures:
            assert re.match(r"<title>[^<]+</title><desc>[^<]+</desc>", figure)
        marks = re.findall(r'<svg [^>]*class="(?:bar|key)"[^>]*>', page)
        assert all('aria-hidden="true"' in mark for mark in marks)
