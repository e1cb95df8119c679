"""What a server process tells its operator: whether it is well, whether it can do its work, and numbers."""
