"""Small files with the columns that the public sources have."""

from __future__ import annotations

import base64
import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

IMAGE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""What the hub's `Image` feature is in Parquet."""

Rows = Sequence[Mapping[str, Any]]


def png(shade: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    """A picture; its base64 is longer than any index. Shades make pictures differ."""
    buffer = io.BytesIO()
    PIL.Image.effect_noise(size, 60).convert("RGB").point(lambda v: (v + shade) % 256).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


PICTURES = tuple(png(shade) for shade in (0, 7, 99))


def feature(data: bytes, path: str | None = None) -> dict[str, Any]:
    return {"bytes": data, "path": path}


def parquet(path: Path, rows: Rows, schema: pa.Schema | None = None) -> Path:
    """A table whose pictures have the type of the feature `Image`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(list(rows), schema=schema)
    pq.write_table(table, path, row_group_size=2)
    return path


def tsv(path: Path, rows: Rows, *, dialect: str = "excel-tab") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, dialect=dialect)
        writer.writeheader()
        writer.writerows(rows)
    return path


def json_lines(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def archive(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def based(data: bytes) -> str:
    return base64.b64encode(data).decode()


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

A_OKVQA: Rows = [
    {
        "image": feature(PICTURES[0]),
        "question_id": "22MexNkBPpdZGX6sxbxVBH",
        "question": "What is the man by the bags awaiting?",
        "choices": ["skateboarder", "train", "delivery", "cab"],
        "correct_choice_idx": 3,
        "direct_answers": "['ride', 'bus', 'taxi']",
        "difficult_direct_answer": False,
        "rationales": ["A train would not be on the street."],
    }
]

SCIENCEQA: Rows = [
    {
        "image": None,
        "question": "Which of these states is farthest north?",
        "choices": ["West Virginia", "Louisiana", "Arizona", "Oklahoma"],
        "answer": 0,
        "hint": "",
        "task": "closed choice",
        "grade": "grade2",
        "subject": "social science",
        "topic": "geography",
        "category": "Geography",
        "skill": "Read a map",
        "lecture": "",
        "solution": "To find the answer, look at the map.",
    },
    {
        "image": feature(PICTURES[1]),
        "question": "What follows?",
        "choices": ["a", "b"],
        "answer": 1,
        "hint": "Look at the figure.",
        "task": "closed choice",
        "grade": "grade8",
        "subject": "natural science",
        "topic": "physics",
        "category": "Magnets",
        "skill": "Compare",
        "lecture": "",
        "solution": "",
    },
]

CLEVR_MATH: Rows = [
    {
        "template": "subtraction",
        "id": "CLEVR_train_000000.png",
        "question": "Subtract all cyan cubes. How many objects are left?",
        "image": feature(PICTURES[0]),
        "label": 4,
    }
]

GEO170K: Rows = [
    {
        "image": "geo3k/train/74/img_diagram.png",
        "conversations": [
            {
                "from": "human",
                "value": (
                    "<image>\nBased on the image, directly select the correct answer for the "
                    "following question:\nQuestion: Find x.\nChoices:\nA: 30\nB: 45\nC: 60\nD: 90"
                ),
            },
            {"from": "gpt", "value": "The triangle is right.\nAnswer:B"},
        ],
    }
]

MAVIS: Rows = [
    {
        "id": "m1",
        "image_text_lite": feature(PICTURES[0]),
        "image_vision_dominant": feature(PICTURES[1]),
        "choices": ["1", "2", "3", "4"],
        "answer_index": 2,
        "text_en": {
            "text_lite_question": "How long is AB?",
            "vision_dominant_question": "Find AB.",
            "text_dominant_question": "Given all, how long is AB?",
            "CoT_reasoning": "AB is 3.",
        },
    }
]

PROCESS: Rows = [
    {
        "image": ["images/MMMU/1.png"],
        "question": "<image>\nWhat is it?",
        "answer": "B",
        "response": {"steps": ["It is red.", "So B.", "Done."], "process_correctness": [1, -1, 0]},
        "policy_model": "GPT-4o",
        "data_source": "MMMU",
    },
    {
        "image": "images/MMMU/1.png",
        "question": "How many?",
        "answer": "12",
        "response": {"steps": ["Twelve."], "process_correctness": [1]},
        "policy_model": "QvQ",
        "data_source": "MathVision",
    },
]


def plain(row: Any, **changes: Any) -> dict[str, Any]:
    """A row with its pictures as paths."""
    paths = {feature["bytes"]: f"{k}.png" for k, feature in enumerate(map(feature, PICTURES))}
    found = {
        key: paths.get(value["bytes"]) if isinstance(value, dict) and "bytes" in value else value
        for key, value in row.items()
    }
    return {**found, **changes}
