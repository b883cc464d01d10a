"""Small tables with the columns that the public benchmarks have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from table_data import IMAGE, PICTURES, Rows, based, feature

MMSTAR: Rows = [
    {
        "index": 0,
        "question": (
            "Which option describes the cat?\n"
            "Options: A: It is on the book., B: It is beneath the bed., C: It sleeps, D: None"
        ),
        "image": feature(PICTURES[0], "0.jpg"),
        "answer": "B",
        "category": "coarse perception",
        "l2_category": "image scene and topic",
        "meta_info": {"source": "MMBench", "split": "val", "image_path": "images/0.jpg"},
    },
    {
        "index": 1,
        "question": (
            "Hint: Please answer the question and provide the correct option letter, e.g., A, B, "
            "C, D, at the end.\nQuestion: Find $m\\angle H$\nChoices:\n(A) 97\n(B) 102\n(C) 107"
        ),
        "image": feature(PICTURES[1], "1.jpg"),
        "answer": "C",
        "category": "math",
        "l2_category": "geometry",
        "meta_info": {"source": "MathVista", "split": "testmini", "image_path": "images/1.jpg"},
    },
]

MMSTAR_TSV: Rows = [
    {
        "index": 0,
        "question": "Which option describes the cat?",
        "A": "It is on the book.",
        "B": "It is beneath the bed.",
        "C": "3",
        "D": "",
        "image": based(PICTURES[0]),
        "answer": "B",
        "category": "coarse perception",
        "l2_category": "image scene and topic",
    },
    {
        "index": 1,
        "question": 'With a "quote",\nand a second line?',
        "A": "yes",
        "B": "no",
        "C": "",
        "D": "",
        "image": "0",
        "answer": "A",
        "category": "math",
        "l2_category": "geometry",
    },
]

MMMU_STANDARD: Rows = [
    {
        "id": "test_Physics_1",
        "question": "Compare <image 2> with <image 1>.",
        "options": "['1 N', '2 N', \"Newton's\", '<image 3>', 'e', 'f', 'g', 'h', 'i', 'last']",
        "explanation": "?",
        **{f"image_{k + 1}": feature(data) for k, data in enumerate(PICTURES)},
        **{f"image_{k}": None for k in range(4, 8)},
        "img_type": "['Diagrams']",
        "answer": "J",
        "topic_difficulty": "Hard",
        "subject": "Physics",
    },
    {
        "id": "test_Art_2",
        "question": "<image 1> Who painted it?",
        "options": "['Monet', 'Manet']",
        "explanation": "",
        "image_1": feature(PICTURES[1]),
        **{f"image_{k}": None for k in range(2, 8)},
        "img_type": "['Paintings']",
        "answer": "A",
        "topic_difficulty": "Easy",
        "subject": "Art",
    },
]


def mmmu_schema(row: Mapping[str, Any]) -> pa.Schema:
    """Slots without a picture are null, and pictures all the same."""
    return pa.schema([(key, IMAGE if key.startswith("image_") else pa.string()) for key in row])


MMMU_VISION: Rows = [
    {
        "id": "test_Physics_1",
        "image": feature(PICTURES[2]),
        "options": "['1 N', '2 N', '3 N']",
        "answer": "C",
        "subject": "Physics",
    }
]

MMMU_TSV: Rows = [
    {
        "index": "test_Physics_1",
        "question": "Compare <image 2> with <image 1>.",
        "image": str([based(PICTURES[0]), based(PICTURES[1])]),
        "image_path": "['1_1.jpg', '1_2.jpg']",
        "answer": "C",
        "A": "1",
        "B": "2",
        "C": "3",
        "category": "Physics",
    }
]

_MATHVISTA_DETAILS = {
    "split": "testmini",
    "language": "english",
    "source": "GeoQA+",
    "category": "math-targeted-vqa",
    "task": "geometry problem solving",
    "context": "geometry diagram",
    "grade": "high school",
    "skills": ["geometry reasoning", "arithmetic reasoning"],
    "img_height": 30,
    "img_width": 40,
}

MATHVISTA: Rows = [
    {
        "pid": "1",
        "question": "Find the angle.",
        "image": "images/1.jpg",
        "decoded_image": feature(PICTURES[0], "1.jpg"),
        "choices": ["97", "102°", "107"],
        "unit": None,
        "precision": None,
        "answer": "102°",
        "question_type": "multi_choice",
        "answer_type": "text",
        "metadata": _MATHVISTA_DETAILS,
        "query": "Hint: ...\nQuestion: Find the angle.\nChoices:\n(A) 97",
    },
    {
        "pid": "2",
        "question": "How long is it?",
        "image": "images/2.jpg",
        "decoded_image": feature(PICTURES[1], "2.jpg"),
        "choices": None,
        "unit": "m",
        "precision": 1.0,
        "answer": "1.2",
        "question_type": "free_form",
        "answer_type": "float",
        "metadata": {**_MATHVISTA_DETAILS, "task": "math word problem"},
        "query": "",
    },
    {
        "pid": "3",
        "question": "How many are left?",
        "image": "images/3.jpg",
        "decoded_image": feature(PICTURES[2], "3.jpg"),
        "choices": None,
        "unit": None,
        "precision": None,
        "answer": "4",
        "question_type": "free_form",
        "answer_type": "integer",
        "metadata": _MATHVISTA_DETAILS,
        "query": "",
    },
    {
        "pid": "4",
        "question": "Which numbers?",
        "image": "images/1.jpg",
        "decoded_image": feature(PICTURES[0], "1.jpg"),
        "choices": None,
        "unit": None,
        "precision": None,
        "answer": "[0, 8]",
        "question_type": "free_form",
        "answer_type": "list",
        "metadata": _MATHVISTA_DETAILS,
        "query": "",
    },
]

MATHVISTA_SCHEMA = pa.schema(
    [
        ("pid", pa.string()),
        ("question", pa.string()),
        ("image", pa.string()),
        ("decoded_image", IMAGE),
        ("choices", pa.list_(pa.string())),
        ("unit", pa.string()),
        ("precision", pa.float64()),
        ("answer", pa.string()),
        ("question_type", pa.string()),
        ("answer_type", pa.string()),
        (
            "metadata",
            pa.struct(
                [
                    pa.field(key, pa.list_(pa.string()) if key == "skills" else pa.string())
                    for key in _MATHVISTA_DETAILS
                    if not key.startswith("img_")
                ]
                + [pa.field("img_height", pa.int64()), pa.field("img_width", pa.int64())]
            ),
        ),
        ("query", pa.string()),
    ]
)


def mathvista_json() -> dict[str, Any]:
    """The authors' `testmini.json`: an object of objects, pictures by path."""
    return {
        str(row["pid"]): {key: row[key] for key in row if key != "decoded_image"}
        for row in MATHVISTA
    }


MATHVISTA_TSV: Rows = [
    {
        "index": 1,
        "question": (
            "Hint: Please answer the question and provide the correct option letter, e.g., A, B, "
            "C, D, at the end.\nQuestion: Find the angle.\nChoices:\n(A) 97\n(B) 102°\n(C) 107"
        ),
        "image": based(PICTURES[0]),
        "choices": "['97', '102°', '107']",
        "answer": "102°",
        "answer_option": "B",
        "question_type": "multi_choice",
        "answer_type": "text",
        "task": "geometry problem solving",
        "skills": "['geometry reasoning']",
    },
    {
        "index": 2,
        "question": (
            "Hint: Please answer the question requiring a floating-point number with one decimal "
            "place and provide the final value, e.g., 1.2, 1.3, 1.4, at the end.\n"
            "Question: How long is it? (Unit: m)"
        ),
        "image": based(PICTURES[1]),
        "choices": "",
        "answer": "1.2",
        "answer_option": "",
        "question_type": "free_form",
        "answer_type": "float",
        "task": "math word problem",
        "skills": "[]",
    },
]


def _mathverse(number: int, version: str, **changes: Any) -> dict[str, Any]:
    asked = "As shown, find the angle.\nChoices:\nA:65°\nB:55°\nC:45°\nD:35°"
    return {
        "sample_index": str(number),
        "problem_index": "1",
        "problem_version": version,
        "question": "" if version == "Vision Only" else asked,
        "image": feature(b"", None) if version == "Text Only" else feature(PICTURES[number % 3]),
        "answer": "B",
        "question_type": "multi-choice",
        "metadata": {
            "split": "testmini",
            "source": "geoqa",
            "subject": "Plane Geometry",
            "subfield": "Angle",
        },
        "query_wo": f"Please directly answer.\n{asked}",
        "query_cot": f"Please first reason.\n{asked}",
        "question_for_eval": asked,
        **changes,
    }


MATHVERSE: Rows = [
    _mathverse(1, "Text Dominant"),
    _mathverse(2, "Text Lite"),
    _mathverse(3, "Vision Intensive"),
    _mathverse(4, "Vision Dominant", answer="A, C"),
    _mathverse(5, "Vision Only"),
    _mathverse(
        6,
        "Text Dominant",
        question="Find the length.",
        question_for_eval="Find the length.",
        answer="5\\sqrt{3}",
        question_type="free-form",
    ),
    _mathverse(7, "Text Lite", answer="45°"),
]
MATHVERSE_TEXT: Rows = [
    {key: value for key, value in _mathverse(1, "Text Only").items() if key != "image"}
]

REALWORLDQA: Rows = [
    {
        "image": feature(PICTURES[0]),
        "question": (
            "Which way does the wheel face?\n\nA. Left\nB. Straight\nC. Right\nPlease answer "
            "directly with only the letter of the correct option and nothing else."
        ),
        "answer": "B",
    },
    {
        "image": feature(PICTURES[1]),
        "question": "How many cars?\nPlease answer directly with a single word or number.",
        "answer": "3",
    },
    {
        "image": feature(PICTURES[2]),
        "question": "Is it green?\nPlease answer directly with a single word or number.",
        "answer": "Yes",
    },
]

VILBENCH: Rows = [
    {
        "id": "mathvista_1",
        "dataset": "MathVista_testmini",
        "question": "Find the angle.",
        "options": ["97", "102"],
        "answer": "B",
        "image": feature(PICTURES[0]),
    },
    {
        "id": "rwqa_2",
        "dataset": "RealWorldQA",
        "question": "How many cars?",
        "options": None,
        "answer": "3",
        "image": feature(PICTURES[1]),
    },
]
