"""What is written stays whole (`atomic`) and is known to (`checksums`); one process works in a directory at a time (`lock`)."""
