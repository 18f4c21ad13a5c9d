"""What the desired state would change in the cluster, worked out without changing anything: the query "diff".

It is imported when it is first asked: most spokes are never asked.
"""
