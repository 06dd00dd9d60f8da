"""Shared floor: errors, registry, settings, flags, paths, atomic files. Standard library and pydantic only."""
