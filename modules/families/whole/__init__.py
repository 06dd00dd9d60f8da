"""Families that run as a whole pipeline of diffusers, from a diffusers folder: text to image alone, with the pipeline's own schedulers."""
