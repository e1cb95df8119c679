"""The main job: one network end to end, from job logs to paid claims, as separate processes on loopback.

Reading order: `options`, `layout` (what lies where), `processes` (children), `chain_setup` (contracts, members,
funds), `stream` (jobs in), `settlement` (decisions awaited, claims paid), `run` (all of it), `outcome` (the result).

The law: every step asks the chain or the services what is already done, so that running any of it again, on the same
data directory, changes nothing and never pays twice.
"""
