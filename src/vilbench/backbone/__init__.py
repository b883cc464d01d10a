"""A checkpoint in a folder and how it is run: the ground that engines and reward models share.

Loading and its checks, from prompts to token ids and pixels, one model driven part by part,
key-value caches, and shared beginnings computed once. Torch is at home here.
"""

import os

# Read once, when huggingface_hub is first imported. Folders are local: without it a file that
# is missing from one is looked for on the network for minutes. A value of the user's stays.
OFFLINE_BY_DEFAULT = "HF_HUB_OFFLINE" not in os.environ
"""Whether the hub is out of reach because nobody asked for it, and not by the user's word."""
os.environ.setdefault("HF_HUB_OFFLINE", "1")
