"""The embedded world's checkpoints: tiny Qwen2.5-VL models trained on puzzles from scratch."""
