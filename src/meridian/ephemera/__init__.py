"""Ephemera: how the registered evaluators of an epoch come to one block of rows, and sign one report.

Mode *quorum*: signed Bracha, which is single-shot PBFT with an inclusion rule. Reading order:

1. `context`: domain, network, epoch, members; what a signature is about; message kinds.
2. `limits`: every bound and every waiting time.
3. `block`: block, certificate, the inclusion rule; offline verification.
4. `message`, `frame`: what members say, and the bytes of it.
5. `evidence`: proofs of misbehaviour, verifiable offline.
6. `effects`: what the replica asks its driver to do.
7. `application`: the one question to the application.
8. `seat`: what the parts of one epoch's machine share; `ledger`, `retrieval`, `journal`: first statements,
   fetching by digest, durable records.
9. `collection`, `agreement` (with `pacemaker`, `proposal`, `block_store`, `announcement`), `attestation`: steps S0; S1 to S4; S5.
10. `epoch`: the machine of one epoch, made of these.
11. `closed`: answers about closed epochs, from the archive of records.
12. `replica`: all epochs behind one face.
"""
