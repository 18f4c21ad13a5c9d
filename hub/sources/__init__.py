"""Sources: reach a Git repository, follow its ref, and hold the content of the revisions that are wanted."""
