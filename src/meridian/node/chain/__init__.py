"""Access to an EVM chain: an embedded one that we run ourselves, and a client for it or for any other endpoint.

Reading order, the client first (it works alike with the embedded chain, anvil or Filecoin)::

    rpc         JSON-RPC 2.0 over one kept-alive connection
    reverts     why a contract refused, as text
    contract    reads, call data and events by a contract's ABI
    signing     EIP-1559 transactions and the addresses that they create
    journal     what a sender has signed, durable before anything is sent
    sender      sends each purpose once, whatever crashes in between

Then the chain::

    store       the SQLite file: state, blocks, logs, and the pool of accepted transactions
    rules       py-evm under the rules of one fork; which raw transactions are well formed
    pool        transactions that wait for a block, with bounds
    blocks      one block from the pool, on one virtual machine
    execution   eth_call and eth_estimateGas
    ledger      store, pool and head together: admit, mine, look up
    encoding    hex in and out, and the JSON shapes of blocks, transactions, receipts and logs
    methods     the JSON-RPC methods
    jsonrpc     the envelope: single calls, batches, errors
    miner       the thread that makes blocks when there is work
    server      HTTP on loopback
    embedded    `EmbeddedChain` in process, and ``python -m meridian.node.chain.embedded`` as a process
"""
