"""What is timed: each function runs in a process of its own and returns plain numbers."""
