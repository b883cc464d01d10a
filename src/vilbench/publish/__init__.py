"""What people publish, and how: models, training data, problem sets and results, with cards.

`recognise` tells what a folder is, a module each makes it a `Publication` (`model`, `data`,
`problem_set`, `results`), `publication` writes one to a folder, `hub` uploads it. `inspect_log`
and `evaluation` give results in the forms of other tools.
"""
