"""Prefix tuning (Li & Liang 2021; arXiv 2510.24619)."""
