"""Status: what the hub knows of its fleet, in the shape that people know from Kubernetes.

`facts` is what the rest of the hub feeds, `resources` the pure functions that turn facts into resources, `board` the
current resources with a level-based watch, `events` the newest events, `revisions` which revision a digest stood for,
`select` the label selectors.
"""
