"""Control state of several measure servers: who they are, and which epochs are closed and settled."""
