"""From a source and a path to Kubernetes objects: kustomize, confined, and its results remembered."""
