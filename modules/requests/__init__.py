"""What is asked for and what comes back: frozen, validated, picklable. No torch, no gradio."""
