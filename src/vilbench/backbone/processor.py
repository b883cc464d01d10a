"""The processor of Qwen-VL folders, from Qwen2-VL on, without video and without torchvision.

The class that transformers ships insists on a video processor, whose module needs
torchvision. Images alone need neither, so `QwenVLProcessor` leaves the video part out and
pins the Pillow image backend: a folder gives the same pixels on every machine, torchvision
installed or not.

Importing this module registers the class with `AutoProcessor`. The registration serves
folders that were saved by it; folders that name the stock class, as those of
`Qwen/Qwen2.5-VL-3B-Instruct` do, come through `load_processor`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoProcessor, AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.processing_utils import ProcessorMixin

IMAGE_TOKEN = "<|image_pad|>"  # noqa: S105 - a token of the vocabulary, not a secret
VIDEO_TOKEN = "<|video_pad|>"  # noqa: S105


class QwenVLProcessor(Qwen2_5_VLProcessor):  # type: ignore[misc] # transformers is untyped here
    """Text and images to the inputs of a Qwen-VL model.

    Args:
        image_processor: A `Qwen2VLImageProcessorPil`.
        tokenizer: A fast tokenizer that knows `IMAGE_TOKEN` and `VIDEO_TOKEN`.
        chat_template: Jinja template; the tokenizer's own when None.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        self.image_token = IMAGE_TOKEN
        self.video_token = VIDEO_TOKEN
        self.image_token_id = tokenizer.convert_tokens_to_ids(IMAGE_TOKEN)
        self.video_token_id = tokenizer.convert_tokens_to_ids(VIDEO_TOKEN)
        # The parent's constructor would demand a video processor.
        ProcessorMixin.__init__(
            self,
            image_processor,
            tokenizer,
            chat_template=chat_template or getattr(tokenizer, "chat_template", None),
        )

    @classmethod
    def _get_arguments_from_pretrained(
        cls, pretrained_model_name_or_path: str, processor_dict: Any = None, **kwargs: Any
    ) -> list[Any]:
        # AutoImageProcessor would take the torchvision backend wherever that is installed.
        return [
            Qwen2VLImageProcessorPil.from_pretrained(pretrained_model_name_or_path, **kwargs),
            AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **kwargs),
        ]

    def _process_videos(self, videos: Any, **kwargs: Any) -> Any:
        raise ValueError("videos are not supported")


AutoProcessor.register(Qwen2_5_VLConfig, QwenVLProcessor, exist_ok=True)

_FAMILIES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe")
"""Families that treat images alike: patches in one row, placeholders by their grid."""


def load_processor(folder: Path) -> Any:
    """The processor of a local model folder; never downloads, never runs its code."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    loader = QwenVLProcessor if config.get("model_type") in _FAMILIES else AutoProcessor
    return loader.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
