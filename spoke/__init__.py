"""The spoke: one small process in each cluster that makes the cluster what its bundle says."""
