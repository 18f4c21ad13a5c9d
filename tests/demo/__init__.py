"""The main job before one's eyes: `make demo`."""
