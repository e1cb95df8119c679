"""What an explorer shows of a network, as bytes of files: the columns format, and the indexes that pages look things up in."""
