"""An epoch's stages as map over shards of our own and integer reduce, on one machine or many.

`shards` cuts an epoch at node bounds, `committing` and `evaluating` are the stages, pure and equal to the same work in
one piece, byte for byte. `pool` runs their tasks: here, in processes, or on Dask. An engine is only a place to run a
task: what a shard is, and how partial results add up, is never the engine's business.
"""
