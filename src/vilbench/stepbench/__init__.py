"""Step-level benchmarks: VisualProcessBench and ProcessBench protocols on any scorer."""
