"""How a device says that its memory is used up."""

from __future__ import annotations

import torch


def ran_out(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or on the CPU: smaller batches may then do."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )
