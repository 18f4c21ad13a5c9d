"""Makes the cluster what its bundle says: applies, prunes, heals, and tells how each workload stands.

`Engine.set_bundle` is the way in. Each workload has one task (`WorkloadTask`) that compares what is desired, what its
inventory says was applied and what is live, and acts on the difference, again whenever one of the three changes.
"""
