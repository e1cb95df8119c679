"""The measurement models as runs: the same jobs in, the same result out, each by its own way.

`model` is what every model offers, `registry` finds one by its name, `data_dir` is what lies in its directory, `frauds`
are the ten cheats that are played in each, `local_chain` is the chain that the small ones share.
"""
