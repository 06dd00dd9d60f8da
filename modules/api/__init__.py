"""HTTP: the guard, `/sdapi/v1/*` as A1111's clients expect it, our own routes. No torch, no gradio."""
