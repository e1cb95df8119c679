"""Mempool, blocks of messages and the replicated key-value store, on top of reliable broadcast.

Every member makes blocks of its own from the messages of its mempool and broadcasts them; every correct member
delivers and stores every finalised block. Reading order:

1. `message`: a signed message. `block`: a block of them, chained per creator; proofs of inclusion.
2. `hooks`: what the application decides (`check_tx`, `check_block`, `deliver_block`).
3. `mempool`: messages that wait, within limits.
4. `block_channel`, `store_channel`: the two channels of the broadcast.
5. `producer`: when an own block is made.
6. `member_set`: one member's part in one member set; `replica`: all open sets behind one face.
"""
