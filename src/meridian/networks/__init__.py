"""Networks: each a thin use of what is below: a schema, an evaluation function with parameters, and a loader.

In reading order:

- `definition`: what a network is, and what a loader returns.
- `saturn`, `spark`, `spark_chain`, `nym`, `attestation`, `worldcup`: the networks, with loaders for the real files of their systems.
- `generator`, `spark_generator`: made-up Saturn traffic and SPARK rounds of any size, the same bytes on every machine.
- `sources`: the networks by name, and the jobs of their files.
- `function_folder`, `function_trial`, `local`: a function of one's own as files, tried out on a source without a network.
- `files`, `lines`: reading input files; writing records in the seed's data model.
"""
