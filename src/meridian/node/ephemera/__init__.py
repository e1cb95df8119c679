"""Ephemera as a process and as a library: blocks of signed messages and a replicated key-value store.

Reading order::

    storage          what the shell needs of a database; sqlite_storage is one, on owned_database
    driver           one task that drives the block core over links and storage
    subscribers      who is told of finalised blocks, within bounds
    node             `EphemeraNode`, the face for programs that embed it
"""
