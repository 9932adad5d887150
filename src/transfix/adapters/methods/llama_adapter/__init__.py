"""LLaMA-Adapter (Zhang et al. 2023)."""
