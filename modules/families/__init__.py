"""Model families: detect a checkpoint from keys and shapes, build its parts, and what it can do as data."""
