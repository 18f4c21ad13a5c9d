"""What a spoke keeps in its own cluster, for a pod whose disk is empty and whose hub is away.

All of it is in one namespace: a lease that says which spoke works here (`lease`), the desired state (`record`,
`recorder`), and who the spoke is (`identity`).
"""
