"""The page, made with gradio. No torch, and nothing in `modules` imports it."""
