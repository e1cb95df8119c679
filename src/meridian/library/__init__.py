"""What `import meridian` gives: submit, read, evaluate, verify and claim from one's own programme or notebook.

`network` opens a network and reads its epochs, `frames` makes Arrow, pandas or polars tables, `submitting`, `evaluating` and
`claiming` do what the commands of the same names do. The names that users see are listed in `meridian.__all__`.
"""
