"""Merging checkpoints and LoRAs, and extracting LoRAs: tensor by tensor, from mapped files into a file that is written as it comes."""
