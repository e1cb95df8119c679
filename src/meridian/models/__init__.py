"""The rules of the measurement models: what each puts on a chain or into a store, and how an outsider recomputes an epoch.

Pure: the runners that play a model, with chain and files, are `meridian.journey.models`.
"""
