"""Local mode: an in-process controller, and a shell that has nothing to reach."""
