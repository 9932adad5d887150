"""The head that gives an encoder's answers."""
