"""Prompt templates: variants, wildcards and variables in prompts, as the extension Dynamic Prompts has them."""
