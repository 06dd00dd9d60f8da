"""Prompts to conditioning: CLIP's tokenizer, chunks of 75 tokens, text encoding."""
