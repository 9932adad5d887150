"""Measuring an adapter: choices scored, and what their scores say of a language."""
