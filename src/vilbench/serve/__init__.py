"""Served scores and selection: the scoring server and the best-of-n proxy."""
