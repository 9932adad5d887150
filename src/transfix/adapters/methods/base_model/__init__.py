"""The base model, prompted: the control."""
