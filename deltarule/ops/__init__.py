"""Fast mathematics: what the layers compute with."""
