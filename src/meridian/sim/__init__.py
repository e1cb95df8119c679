"""A seeded world for the replica: the same core as in production, on a bad network, with liars among the members.

One seed gives one world and one trace; a failing seed is printed and fails again. Reading order:

1. `faults`: what a seed decides: loss, delay, partitions, crashes, disks, clocks, epochs, who lies and how.
2. `network`: the queue of frames and wake-ups on one virtual clock; the forms of a partition.
3. `signatures`: modelled ones in most worlds, real ones in the rest.
4. `hosts`: correct members (crash between two effects, restart from disk) and twins.
5. `liar`, `puppets`, `mangler`: members that say whatever may hurt.
6. `checkers`: what must hold; `reach`: what must have happened.
7. `world`: `run_seed(seed, nodes) -> Result`.
8. `batch`: many seeds on all cores; `twins`: all two-view attacks of one equivocator.
9. `mutation`, `mutants*`, `probes`: broken protocols, which worlds and probes must expose.
10. `attack`: another kind of drawing: what liars can do to each average over the evaluators.
"""
