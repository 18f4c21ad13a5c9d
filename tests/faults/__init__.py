"""A spoke that is killed, and an API server that misbehaves, at points that a seed chooses; and the cluster judged."""
