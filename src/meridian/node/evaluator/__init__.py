"""The evaluator process.

Reading order: `config`, `artefacts` (fetch and check what the measure service published), `work` (one epoch, from
commitment to row), `outcomes` (decided blocks become reports, in the order of the chain), `publish` (what outsiders
verify) and `service` (the loop that ties them to the chain and to the replica).
"""
