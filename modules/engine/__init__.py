"""The engine: plan, recipe, events."""
