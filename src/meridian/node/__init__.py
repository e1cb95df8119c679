"""The IO shell: everything that touches sockets, files, clocks and threads, around the pure core.

Reading order::

    chain/      an EVM chain of our own as one durable process, and the client for it or for any other endpoint
    measure/    the service that admits job records and seals epochs
    ephemera/   a node of the broadcast: storage, HTTP API, membership, process
    links       the mutually authenticated mesh between members
    effect_driver    one task that feeds a pure core and carries out its effects in order
    replica_driver   that for the agreement, over links and a safety log

No rule of the protocol lives here: the shell interprets effects, and decides nothing.
"""
