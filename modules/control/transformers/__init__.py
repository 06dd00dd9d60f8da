"""ControlNets beside transformers that draw: Stable Diffusion 3, FLUX.1, Qwen-Image and Z-Image."""
