"""Makes the cluster what its bundle says: applies, prunes, heals, and tells how each workload stands.

The way of the data: `engine` takes the newest bundle (`Engine.set_bundle`, `given`) and reads the `inventories` of what
was applied; `changeover` starts and ends a task per workload, which the `roster` knows. Each task (`workload`) waits for
its `dependencies`, lets a `step` apply what differs (`plan` decides; `prepare`, `normalize` make what is sent), object
by object (`objects`: `strangers` that are there already, `recreate` for what can't be changed), then has what is not
wanted any more deleted (`pruning`: `guard`, `deletion`, `occupants`), and tells how it stands (`troubles`, `judgement`,
`standing`). It begins again whenever something happens in the cluster or its `schedule` says so. A workload that leaves
the bundle ends by `removal`; one that somebody else applies (`hold`) by `release`.
"""
