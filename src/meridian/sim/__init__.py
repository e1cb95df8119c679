"""A seeded world for the replica: the same core as in production, on a bad network, with liars among the members.

One seed gives one world and one trace; a failing seed is printed and fails again. Reading order:

1. `faults`: what a seed decides: loss, delay, partitions, crashes, drops by view and phase, who lies and how.
2. `network`: the queue of frames and wake-ups on one virtual clock.
3. `hosts`: correct members (crash between two effects, restart from disk) and twins.
4. `liar`: members that say whatever may hurt.
5. `checkers`: what must hold.
6. `world`: `run_seed(seed, nodes) -> Result`.
"""
