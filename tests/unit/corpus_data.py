"""Small tables with the columns that the public sets to learn from have."""

from __future__ import annotations

from table_data import PICTURES, Rows, feature

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
