"""What can be seen of a network."""
