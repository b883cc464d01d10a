"""From prompts and texts to token ids, and back: the one place for training and inference.

Text is data. A prompt's chat template is rendered with a mark in place of every text, the
processor expands the images, and only then are the texts encoded, by a copy of the
tokenizer that knows no control token. Text that spells `<|im_end|>` or an image token
therefore stays text. Otherwise the ids are those of the stock way (render everything, then
tokenize), because a text is encoded together with the template's plain text around it.
"""

from __future__ import annotations

import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from tokenizers import Tokenizer

from vilbench.backbone.spelling import TextStream, byte_table
from vilbench.errors import CheckpointError, EngineError, ImageError
from vilbench.images import DEFAULT_LIMITS, ImageLimits, decode
from vilbench.types import Image, Prompt

Pixels = Mapping[str, torch.Tensor]
"""A model's image inputs by argument name, such as `pixel_values` and `image_grid_thw`."""

_NOT_PIXELS = {"input_ids", "attention_mask", "mm_token_type_ids", "token_type_ids"}


@dataclass(frozen=True, slots=True)
class Encoded:
    """A prompt as ids.

    Attributes:
        ids: Token ids, image placeholders expanded.
        images: In the order of their placeholders.
        image_end: Every image placeholder is among the first `image_end` ids; 0 without.
    """

    ids: tuple[int, ...]
    images: tuple[Image, ...]
    image_end: int


class Pieces(NamedTuple):
    """Ids of a text with the text of each; the texts spell the whole in order."""

    ids: tuple[int, ...]
    texts: tuple[str, ...]


class _Skeleton(NamedTuple):
    """A rendered template with its plain text taken out.

    `ids[i]` stand before `runs[i]`, and `ids[-1]` after the last run. A run is the plain
    text between two control tokens: literals of the template with a slot between each two.
    """

    ids: tuple[tuple[int, ...], ...]
    runs: tuple[tuple[str, ...], ...]


class PromptEncoder:
    """Token ids of prompts and of continuations for one model family's processor.

    Thread-safe. Rendered templates and pixel tensors are kept for the most recent images.

    Args:
        processor: A transformers processor with a fast tokenizer and a chat template.
        limits: What an image may be.
        remember: How many sets of images to keep pixels for.

    Raises:
        CheckpointError: The tokenizer is not a fast one, or the template is missing or
            cannot carry text parts.
    """

    def __init__(
        self, processor: Any, limits: ImageLimits = DEFAULT_LIMITS, *, remember: int = 256
    ) -> None:
        self._processor = processor
        tokenizer: Any = getattr(processor, "tokenizer", None)
        if not getattr(tokenizer, "is_fast", False):
            raise CheckpointError("a fast tokenizer is needed", file="tokenizer.json")
        self._tokenizer = tokenizer
        if not isinstance(getattr(processor, "chat_template", None), str):
            raise CheckpointError("there is no chat template", file="chat_template.jinja")
        self._plain = _without_control_tokens(self._tokenizer.backend_tokenizer)
        self._table = byte_table(self._tokenizer)
        self._mark = self._choose_mark()
        self._control = _control_pattern(self._tokenizer, self._mark)
        self._mark_id = int(self._tokenizer.convert_tokens_to_ids(self._mark))
        self._image_ids = {i for i in processor.image_token_ids if i is not None}
        self._skeletons: OrderedDict[Any, _Skeleton] = OrderedDict()
        self._pixels: OrderedDict[tuple[Image, ...], Pixels] = OrderedDict()
        self._limits = limits
        self._remember = remember
        self._lock = threading.RLock()

    def encode(self, prompt: Prompt) -> Encoded:
        """Ids of the prompt up to where the model's reply begins, prefill included.

        Raises:
            EngineError: A text is not valid Unicode.
            ImageError: An image cannot be read.
            CheckpointError: The template drops or repeats a part.
        """
        shape: list[Image | None] = []
        texts: list[str] = [prompt.system] if prompt.system else []
        for part in prompt.parts:
            if isinstance(part, Image):
                shape.append(part)
            elif part and shape and shape[-1] is None:
                texts[-1] += part
            elif part:
                shape.append(None)
                texts.append(part)
        skeleton = self._skeleton(bool(prompt.system), tuple(shape))
        ids = list(skeleton.ids[0])
        slots = iter(texts)
        for run, after in zip(skeleton.runs, skeleton.ids[1:], strict=True):
            text = run[0] + "".join(next(slots) + literal for literal in run[1:])
            ids += self._plain_ids(text)
            ids += after
        images = prompt.images
        end = 0
        if images:
            end = 1 + max(
                (i for i, token in enumerate(ids) if token in self._image_ids), default=-1
            )
        ids += self._plain_ids(prompt.prefill)
        return Encoded(tuple(ids), images, end)

    def control_id(self, token: str | None = None) -> int:
        """Id of a control token that no text can spell; of the end token when None.

        Raises:
            CheckpointError: There is no such token, it stands for an image, or texts can
                spell it.
        """
        name = self._tokenizer.eos_token if token is None else token
        added = self._tokenizer.added_tokens_decoder.items()
        found = [k for k, entry in added if entry.content == name and not name.isspace()]
        if not found:
            raise CheckpointError(
                f"{name!r} is no control token of the vocabulary", file="tokenizer.json"
            )
        if found[0] in self._image_ids:
            raise CheckpointError(f"{name!r} stands for images", file="tokenizer.json")
        if any(found[0] in self._plain_ids(text) for text in (name, f"a {name} b", f"a{name}b")):
            raise CheckpointError(f"texts can spell {name!r}", file="tokenizer.json")
        return int(found[0])

    def encode_text(self, text: str) -> Pieces:
        """Ids of a continuation, without any control token, and the text that each spells.

        A character whose bytes fall into several tokens belongs to the last of them.

        Raises:
            EngineError: The text is not valid Unicode.
        """
        encoding = self._encoding(text)
        starts = [start for start, _ in encoding.offsets]
        texts, begin = [], 0
        for end in [*starts[1:], len(text)]:
            texts.append(text[begin : max(begin, end)])
            begin = max(begin, end)
        return Pieces(tuple(encoding.ids), tuple(texts[: len(starts)]))

    def encode_texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """Ids of continuations as `encode_text` has them, many at a time.

        Raises:
            EngineError: A text is not valid Unicode.
        """
        try:
            found = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        except (UnicodeError, TypeError):
            for text in texts:  # one by one, to name the text
                self._encoding(text)
            raise
        return [tuple(one.ids) for one in found]

    def decode(self, ids: Sequence[int]) -> Pieces:
        """Text of sampled ids, piece by piece; control tokens spell nothing."""
        stream = self.stream()
        texts = [stream.step(token) for token in ids]
        if texts:
            texts[-1] += stream.end()
        return Pieces(tuple(ids), tuple(texts))

    def stream(self) -> TextStream:
        """Text of ids that come one by one."""
        return TextStream(self._tokenizer.backend_tokenizer, self._table)

    def spelled(self, token: int) -> str:
        """One token by itself, a control token by its name."""
        added = self._tokenizer.added_tokens_decoder.get(token)
        return str(added.content) if added else "".join(self.decode([token]).texts)

    def pixels(self, images: tuple[Image, ...]) -> Pixels:
        """Image inputs of the model, for images in one prompt; none for none.

        Raises:
            ImageError: An image cannot be read.
        """
        if not images:
            return {}
        with self._lock:
            if images not in self._pixels:
                self._build(False, images)
            self._pixels.move_to_end(images)
            return self._pixels[images]

    def _encoding(self, text: str) -> Any:
        try:
            return self._plain.encode(text, add_special_tokens=False)
        except (UnicodeError, TypeError) as error:
            raise EngineError(f"text is not valid Unicode: {text[:40]!r}") from error

    def _plain_ids(self, text: str) -> list[int]:
        ids: list[int] = self._encoding(text).ids if text else []
        return ids

    def _skeleton(self, has_system: bool, shape: tuple[Image | None, ...]) -> _Skeleton:
        key = (has_system, shape)
        with self._lock:
            skeleton = self._skeletons.get(key)
            if skeleton is None:
                skeleton = self._build(has_system, shape)
                _put(self._skeletons, key, skeleton, 4 * self._remember)
            self._skeletons.move_to_end(key)
            return skeleton

    def _build(self, has_system: bool, shape: tuple[Image | None, ...]) -> _Skeleton:
        content = [
            {"type": "text", "text": self._mark} if part is None else {"type": "image"}
            for part in shape
        ]
        rendered = self._render(has_system, content)
        runs, controls = [], []
        position = 0
        for match in [*self._control.finditer(rendered), None]:
            plain = rendered[position : match.start() if match else len(rendered)]
            if plain:
                runs.append(tuple(plain.split(self._mark)))
                controls.append(self._mark)
            if match:
                controls.append(match.group())
                position = match.end()
        slots = sum(len(run) - 1 for run in runs)
        if slots != has_system + shape.count(None):
            raise CheckpointError(
                f"the chat template renders {slots} of {has_system + shape.count(None)} texts",
                file="chat_template.jinja",
            )
        images = tuple(part for part in shape if part is not None)
        ids = self._expand("".join(controls), images)
        segments: list[list[int]] = [[]]
        for token in ids:
            if token == self._mark_id:
                segments.append([])
            else:
                segments[-1].append(token)
        if len(segments) != len(runs) + 1:
            raise CheckpointError(
                f"the tokenizer does not keep '{self._mark}' apart", file="tokenizer.json"
            )
        return _Skeleton(tuple(map(tuple, segments)), tuple(runs))

    def _expand(self, control: str, images: tuple[Image, ...]) -> list[int]:
        """Ids of a string of control tokens, with the images' placeholders expanded."""
        bos = self._tokenizer.bos_token
        special = not (bos and control.startswith(bos))
        ids: list[int]
        if not images:
            ids = self._tokenizer(control, add_special_tokens=special)["input_ids"]
            return ids
        shown = control.count(getattr(self._processor, "image_token", None) or "")
        if shown != len(images):
            raise CheckpointError(
                f"the chat template renders {shown} of {len(images)} images",
                file="chat_template.jinja",
            )
        pictures = [decode(image.read(), self._limits).image for image in images]
        try:
            inputs = self._processor(
                text=[control],
                images=[pictures],
                add_special_tokens=special,
                return_tensors="pt",
            )
        except ValueError as error:
            raise ImageError(f"the model's processor refuses an image: {error}") from error
        pixels = {name: value for name, value in inputs.items() if name not in _NOT_PIXELS}
        _put(self._pixels, images, pixels, self._remember)
        ids = inputs["input_ids"][0].tolist()
        return ids

    def _render(self, has_system: bool, content: list[dict[str, str]]) -> str:
        user = {"role": "user", "content": content}
        system = {"role": "system", "content": [{"type": "text", "text": self._mark}]}
        if has_system:
            return self._template([system, user])
        bare = self._template([user])
        # Templates may put in a system turn of their own. What a template writes for a system
        # turn alone, taken off what it writes for both, leaves the user's turn.
        try:
            alone = self._template([system], reply=False)
            both = self._template([system, user])
        except Exception:
            # Templates raise what they like about roles that they do not know.
            return bare
        turn = both[len(alone) :]
        if not both.startswith(alone) or not bare.endswith(turn):
            return bare
        lead = bare[: len(bare) - len(turn)]
        if not self._control.sub("", lead).strip():
            return bare
        bos = self._tokenizer.bos_token or ""
        return (bos if bos and lead.startswith(bos) else "") + turn

    def _template(self, messages: list[dict[str, Any]], *, reply: bool = True) -> str:
        rendered: str = self._processor.apply_chat_template(
            messages, add_generation_prompt=reply, tokenize=False
        )
        return rendered

    def _choose_mark(self) -> str:
        """A special token that can stand for a text: the template and images never use it."""
        used = self._processor.chat_template + "".join(
            self._processor.all_special_multimodal_tokens
        )
        for _, token in sorted(self._tokenizer.added_tokens_decoder.items()):
            plain = token.special and not (token.lstrip or token.rstrip or token.single_word)
            if plain and token.content not in used and token.content != self._tokenizer.bos_token:
                return str(token.content)
        raise CheckpointError("there is no special token to spare", file="tokenizer_config.json")


def _put(cache: OrderedDict[Any, Any], key: Any, value: Any, size: int) -> None:
    cache[key] = value
    while len(cache) > size:
        cache.popitem(last=False)


def _control_pattern(tokenizer: Any, mark: str) -> re.Pattern[str]:
    """Matches the tokens that a template writes to steer the model, longest first."""
    added = tokenizer.added_tokens_decoder.values()
    tokens = [token for token in added if token.content != mark and not token.content.isspace()]
    tokens.sort(key=lambda token: -len(token.content))
    patterns = [re.escape(token.content) + (r"\s*" if token.rstrip else "") for token in tokens]
    return re.compile("|".join(patterns) or r"(?!)")


def _without_control_tokens(backend: Tokenizer) -> Tokenizer:
    """A copy that encodes every text as text.

    `split_special_tokens` would not do: it leaves added tokens that are not flagged as
    special, such as Qwen's `<tool_call>`, in force.
    """
    state = json.loads(backend.to_str())
    # Some tokenizers hold runs of blanks as added tokens; these are text.
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"].isspace()]
    state["post_processor"] = state["truncation"] = state["padding"] = None
    return Tokenizer.from_str(json.dumps(state))
