"""Builds an explorer's site: reads publications and chain, and writes files that any web server can serve."""
