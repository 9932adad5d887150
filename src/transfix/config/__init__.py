"""How what a person writes becomes checked settings: the YAML dialect, overrides, and every problem in words."""
