"""What a model answers: choices scored, texts generated."""
