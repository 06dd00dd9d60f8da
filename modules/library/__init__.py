"""What is on disk: checkpoints, their headers and hashes. No torch."""
