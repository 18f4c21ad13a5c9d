"""Planning drives the steps from sources to link: whenever something changed, what each cluster is to have now.

`planner.Planner` is the entry; the steps themselves (`hub.fleet`, `hub.render`, `hub.targeting`, `hub.rollout`) decide,
this package fetches, builds, stores and publishes around them.
"""
