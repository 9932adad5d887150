"""Soft prompts (Lester et al. 2021)."""
