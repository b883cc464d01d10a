"""Step values by tree search, over many problems at once.

calls     what a search asks of models, answered once and kept (`Journal`)
policy    continuations of a prefix, read as steps, with the faults of hostile text named
evaluator values of prefixes: a `StepScorer`, the grade of finished answers, or both
budget    what was spent, and the limits of it
growth    one tree: a search, driven round by round
forest    all trees of a run
"""
