"""What makes a condition of a picture: its edges, depth, pose ... A file a preprocessor, under the ControlNet extension's names."""
