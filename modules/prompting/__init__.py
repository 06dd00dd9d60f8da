"""Prompts as text: their grammar, tokenizers, chunks of 75 tokens."""
