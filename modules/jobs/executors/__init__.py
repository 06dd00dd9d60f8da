"""Ways to run a job: in this process (tests) or in an engine process of its own (default)."""
