"""A spoke without its link: its core driven directly, on a real API server, from a store that the test fills."""
