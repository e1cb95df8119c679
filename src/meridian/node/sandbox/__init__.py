"""Python functions of a network, in a process that can compute and nothing else.

`runner` starts one process for each call and talks to it over two pipes; `child` is what runs there: it reads the whole
request, gives up everything else (`lockdown`), and only then runs the function.
"""
