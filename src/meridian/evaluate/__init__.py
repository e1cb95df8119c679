"""Evaluate: from the sealed jobs of an epoch to one agreed integer weight for each node.

Pure: no clock, randomness, sockets or files. In reading order:

- `function`: what an evaluation function is given and what it returns; how its code gets a digest.
- `jobs`: an epoch's jobs as batches of columns, a table or sealed segments; `engine` is the locked SQL engine over them.
- `judging`: one verdict for each job, exact sums for each node.
- `functions`: the functions that ship (`spark` holds what SPARK's need); `registry` finds them by name and by digest.
- `bundle`, `own_functions`: functions that a network writes itself; `expressions` and `python_subset` say what they may hold.
- `layer`, `layers`, `shipped_layers`: fraud layers and those that ship; `groups`, `flagging` and `layered` run them in front
  of a function; `sealed_layer` and `sealed` keep one secret and let a single job's reason be opened.
- `parameters`: the artefact that fixes everything about an evaluation except its code.
- `inputs`: the root over the auxiliary inputs of an epoch.
- `verdicts`: the tree over the verdicts, so that a node can see which of its jobs were not counted, and why.
- `verdict_document`: the verdicts as they are published; `trace`: what only somebody can give who has all of them.
- `row`: what one evaluator contributes to the agreement, as canonical bytes.
- `aggregate`: from the rows of many evaluators to one weight for each node, whatever f of them say (`matrix` sorts what they say);
  `decimal_table` does the same for anybody's table.
- `reliability`: how much each evaluator has been worth, who is out of line, and whom to trust with pay.
"""
