"""The benchmark: what this machine makes of a checkpoint, a file a topic."""
