"""The evaluator process.

Reading order: `config`, `safety` (what must not be forgotten), `artefacts` (what the measure service published), `work`
(one epoch, from commitment to row), `state` (where each epoch stands), `open_epochs` (which of them are
open), `term` (the agreement, made anew after a void on chain), `peers` (whom we have links to), `chain_access`, `publish` (what outsiders verify), `resume` (going on after a
restart, and after epochs without a seat) and `service` (the loop that ties them to the chain and to the replica).
"""
