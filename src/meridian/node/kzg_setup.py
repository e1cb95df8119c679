"""The trusted setup of KZG commitments: Ethereum's ceremony of 2023, as eth-account ships it (EIP-4844)."""

import functools
from importlib import resources

import ckzg

from meridian.models.kzg import Setup


@functools.cache
def ethereum_setup() -> Setup:
    """Return the setup; the first call takes about a second and a half."""
    package = "eth_account.typed_transactions.blob_transactions"
    with resources.as_file(resources.files(package) / "kzg_trusted_setup.txt") as path:
        return ckzg.load_trusted_setup(str(path), 0)
