"""The starter model: its procedural world, its training and its evaluation."""
