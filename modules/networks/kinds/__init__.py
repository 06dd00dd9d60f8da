"""What networks do to a weight: one file a kind."""
