"""The simulated Nym-Api system of the founding document: mixnodes are measured, and a contract takes their averages.

Pure, in reading order:

1. `mixnodes`: the simulated world: what a Nym-Api measures, from a seed.
2. `rows`: one Nym-Api's averages over an epoch, and the average over the Nym-Apis.
3. `rewards`: what the contract takes, and who has signed it; `acceptance`: the contract's rules.
4. `evidence`: from a stored block to the accepted result, checked by anybody.

Processes: `contract` (with `contract_store`), and `api` with `collector`, `distributor`, `api_store` and one way to
settle each (`standalone`, `quorum_way`, `race_way`). `network` describes a system, `run` starts one, `stored` reads what
it left, `compare` runs the ways against each other.
"""
