"""The measure service: jobs in over HTTP, one signed receipt for each batch, one committed root for each epoch.

Reading order: `config`; `publication` (content-addressed objects), `published_log` (the epoch log's files); `frame` and
`job_log` (what is durable before it is acknowledged), `frame_index` (where it lies); `clock`, `registry` (who may hold
jobs, and who is paid), `intake` (a batch becomes a frame and a receipt); `epoch_inputs`, `assembly` and
`seal` (an epoch becomes artefacts and an entry of the log), `committer` (the entry comes on chain); `core` (all of it
without a network), `http`, `openapi` and `service` (the process); `client` (the other end).
"""
