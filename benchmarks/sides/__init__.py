"""What is timed: each function runs in a process of its own and returns plain numbers."""

WARM = 2
"""Training steps that are not timed: the first ones allocate."""
