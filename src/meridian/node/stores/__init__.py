"""Where artefacts are kept under their digests: a directory, an S3-compatible service, a CAR file for IPFS."""
