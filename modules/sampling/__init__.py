"""Samplers, schedules, guidance and noise, in sigma space (Karras et al. 2022, arXiv:2206.00364)."""
