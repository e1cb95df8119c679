"""Ephemera as a library and as a process: blocks of signed messages and a replicated key-value store.

Reading order::

    storage          what the shell needs of a database; sqlite_storage is one, on owned_database
    home             a node's directory, and whether it is whole
    driver           one task that drives the block core over links and storage
    subscribers      who is told of finalised blocks, within bounds
    node             `EphemeraNode`, the face for programs that embed it

    member_set, members_file, contract_members, address_hints, hints_url, membership
                     who is a member and where, and what stays when a source fails
    documents        blocks and proofs as JSON, and their check
    api_routes       the one table of the HTTP interface; openapi, api, api_errors, websocket, metrics follow it
    config, setup    the configuration key by key; what is made before the first start
    service, client  the process, and who speaks to it
"""
