"""Built-in scripts, written against `modules.engine.scripts` alone."""
