"""What a commit would change: two plans of a cluster compared object by object and field by field, with warnings, and
the same change on many clusters told once. Pure: `comparison` is the entry, `grouping` what unites its results.
"""
