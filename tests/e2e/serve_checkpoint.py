"""`transformers serve` on a folder whose processor class is ours: PORT FOLDER."""

from __future__ import annotations

import sys

import vilbench.backbone.processor  # noqa: F401 - makes the class known to AutoProcessor

if __name__ == "__main__":
    from transformers.cli.serve import Serve

    Serve(
        force_model=sys.argv[2],
        host="127.0.0.1",
        port=int(sys.argv[1]),
        device="cpu",
        dtype="float32",
    )
