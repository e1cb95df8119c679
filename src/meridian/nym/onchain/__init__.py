"""The simulated Nym-Apis on the contracts of Meridian: Registry, Commitments, Evaluations and Rewards.

1. `measurements` (pure): what a Nym-Api measured in an epoch, signed, and the list of it all that is committed on chain.
2. `uptime` (pure): the rules of the evaluation, and one Nym-Api's row by them.
3. `evidence` (pure): from the report on chain back to the readings.
4. Processes: `aggregator` commits, `api` measures, agrees and reports. `setup` deploys and registers, `run` runs it all.
"""
