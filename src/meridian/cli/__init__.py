"""The command line: each command parses, calls one function, prints.

`main` holds the group and what all commands share; `run_commands`, `serve_commands` and `audit_commands` the commands;
`progress` and `tables` what people see. Results go to standard output, everything else to standard error.
"""
