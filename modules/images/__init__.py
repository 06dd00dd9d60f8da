"""Infotext, metadata in picture files, file names. PIL and numpy."""
