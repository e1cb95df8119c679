"""Evaluate: from the sealed jobs of an epoch to one agreed integer weight for each node.

Pure: no clock, randomness, sockets or files. In reading order:

- `function`: what an evaluation function is given and what it returns; how its code gets a digest.
- `judging`: the one place where SQL runs over the jobs: one verdict for each job, exact sums for each node.
- `functions`: the functions that ship; `registry` finds them by name and by digest.
- `parameters`: the artefact that fixes everything about an evaluation except its code.
- `inputs`: the root over the auxiliary inputs of an epoch.
- `verdicts`: the tree over the verdicts, so that a node can see which of its jobs were not counted, and why.
- `row`: what one evaluator contributes to the agreement, as canonical bytes.
- `aggregate`: from the rows of many evaluators to one weight for each node, whatever f of them say.
"""
