"""What the hub is told about the cluster: level-based, so that nothing said twice or missed does harm."""
