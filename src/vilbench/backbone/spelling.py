"""Text of sampled token ids, exact where a character spans several tokens."""

from __future__ import annotations

import codecs
import json
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream


class TextStream:
    """Text of sampled ids as they come; what is not yet a whole character is held back.

    Args:
        tokenizer: What the ids are of.
        table: Its `byte_table`.
    """

    def __init__(self, tokenizer: Tokenizer, table: Sequence[bytes] | None) -> None:
        self._tokenizer = tokenizer
        self._table = table
        self._bytes = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        self._said = 0

    def step(self, token: int) -> str:
        """What `token` adds to the text; control tokens add nothing."""
        if self._table is not None:
            # Models round their vocabulary up: ids past the tokenizer's spell nothing.
            return self._bytes.decode(self._table[token] if token < len(self._table) else b"")
        self._ids.append(token)
        piece = self._stream.step(self._tokenizer, token) or ""
        self._said += len(piece)
        return piece

    def end(self) -> str:
        """What is still held back, invalid bytes as U+FFFD."""
        if self._table is not None:
            return self._bytes.decode(b"", final=True)
        return self._tokenizer.decode(self._ids, skip_special_tokens=True)[self._said :]


def byte_table(tokenizer: Any) -> list[bytes] | None:
    """Bytes by token id for a byte-level BPE, None for other kinds.

    Byte-level vocabularies write the 188 printable Latin-1 bytes as themselves and the
    others as U+0100 onwards, in order (Radford et al., 2019, GPT-2).
    """
    decoder = json.loads(tokenizer.backend_tokenizer.to_str())["decoder"]
    if not decoder or decoder["type"] != "ByteLevel":
        return None
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    table = {chr(byte): byte for byte in printable}
    table |= {chr(256 + k): byte for k, byte in enumerate(others)}
    vocabulary = tokenizer.get_vocab()
    added = tokenizer.added_tokens_decoder
    texts = [b""] * (1 + max(vocabulary.values()))
    for piece, index in vocabulary.items():
        if index in added:
            texts[index] = b"" if added[index].special else piece.encode()
        else:
            texts[index] = bytes(table[character] for character in piece)
    return texts
