"""Makes the cluster what its bundle says: applies, prunes, heals, and tells how each workload stands.

The way of the data: `engine` takes the newest bundle (`Engine.set_bundle`; `given` says what that is) and reads the
`inventories` of what was applied. `changeover` ends and starts the task of each workload, which the `roster` knows.
The task (`workload`) waits for its `dependencies` and lets a `step` apply what differs: `plan` decides, `prepare` and
`normalize` make what is sent, `strangers`, `objects` and `recreate` do it one by one. Then `pruning` deletes what is
wanted no more (`guard`, `deletion`, `occupants`), and the task tells how it stands (`troubles`, `judgement`,
`standing`). It goes on whenever something happens in the cluster, or when its `schedule` says so. A workload that left
the bundle ends by `removal`; one that somebody else applies (`hold`) is given back by `release`.
"""
