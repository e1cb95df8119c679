"""What everything else is made of; knows no job, no epoch state and no role.

Reading order: `ids`, `hashing` (the table of domain tags), `codec`, `dagcbor`, `cid`, `sumtree` (annotated trees),
`rfc6962` (the epoch log's plain tree), `keys`, `eip712`, `quorum`, `amounts`.
"""
