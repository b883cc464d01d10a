"""Generators: local checkpoints and, later, servers. Only this package and training use torch."""

import os

# Read once, when huggingface_hub is first imported. Folders are local: without it a file that
# is missing from one is looked for on the network for minutes. A value of the user's stays.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
