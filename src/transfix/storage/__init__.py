"""What is written stays whole (`atomic`), and one process works in a directory at a time (`lock`)."""
