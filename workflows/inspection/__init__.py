"""TODO tour."""
