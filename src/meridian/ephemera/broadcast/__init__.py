"""Reliable broadcast: what one member sends in a slot, every correct member delivers, or nobody does.

Bracha's protocol (Bracha 1987; bft.md section 2) with signatures, per (member set, channel, sender, slot number).
It knows members and bytes. Reading order:

1. `slot`: slots, what a signature is about, the certificate of a delivery.
2. `frame`: what members say, and the bytes of it.
3. `channel`: what the owner of a channel answers; `archive`: what was delivered before.
4. `instance`: the votes of one slot.
5. `broadcaster`: all slots of one member set: echo, vote, deliver in order; `serving` and `catch_up`: what members
   that were away get, and whom they ask.
"""
