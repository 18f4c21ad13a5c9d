"""Real Kubernetes control planes on loopback, for tests and for trying things by hand.

Everything that a spoke does ends at an API server, and no imitation of one has its server-side apply, admission,
garbage collection or watch semantics. So the tests run the real etcd, kube-apiserver and kube-controller-manager, and,
where pods matter, the real scheduler with kwok in place of kubelets; no containers, no root, no network beyond
loopback.

By hand: ``python -m tests.cluster up --count 3 --nodes`` prints kubeconfigs, ``python -m tests.cluster down`` stops
them. In a test: the fixture `clusters` (tests/cluster/fixtures.py). In a program: `ControlPlane` as a context manager.
"""
