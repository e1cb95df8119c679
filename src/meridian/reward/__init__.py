"""Reward: from the agreed weights of an epoch to claims that every node can prove and collect, once and for ever.

Pure: no clock, randomness, sockets or files. In reading order:

- `allocation`: a budget split by integer weights, exactly.
- `members`: the shares of evaluators and aggregators, taken off before the split.
- `claims`: the cumulative claims of all nodes, as a sum tree with proofs.
- `economy`: growth pool, collateral, penalties, and what is owed; `memory` is what an epoch leaves to the next one.
- `ledger`: claims and memory, under one reward root.
- `outcome`: the one computation, shared by committee and audit, from a decided block to claims.
- `report`: what the committee signs and the contract checks.
- `result`: the result of an epoch as people and programs read it.
"""
