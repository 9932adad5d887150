"""What is written stays whole (`atomic`) and proves it (`checksums`); one process works in a directory at a time (`lock`)."""
