"""Intervals, tests and metrics over rows and seeds: numpy only."""
