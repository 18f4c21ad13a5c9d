"""The hub: from commits to one desired-state bundle per cluster, streamed to the spokes."""
