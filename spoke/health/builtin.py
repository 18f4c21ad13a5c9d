"""The other built-in kinds that have rules of their own.

PersistentVolumeClaim, Service, CustomResourceDefinition and PodDisruptionBudget follow kstatus. It has no rules for
APIService, HorizontalPodAutoscaler, Namespace and Ingress: to it they are fine as soon as they exist.
"""

from __future__ import annotations

from spoke.health.model import Health, HealthStatus
from spoke.health.snapshot import Json, Snapshot, count, entries, section, text
from spoke.health.verdict import current, failed, from_condition, in_progress


def persistent_volume_claim(obj: Snapshot) -> Health:
    """Judge a claim: it is bound or it isn't."""
    phase = text(obj.status, "phase")
    if phase == "Bound":
        volume = text(obj.spec, "volumeName")
        return current(f"bound to {volume}" if volume else "bound")
    return in_progress("NotBound", f"not bound, phase {phase or 'unknown'}")


def service(obj: Snapshot) -> Health:
    """Judge a Service: a load balancer needs its cluster IP.

    As in kstatus it needs no address from outside, which never comes where nothing hands them out: the message says
    that there is none.
    """
    if text(obj.spec, "type") != "LoadBalancer":
        return current("the Service is ready")
    if not text(obj.spec, "clusterIP"):
        return in_progress("NoIPAssigned", "the load balancer Service has no cluster IP yet")
    return _exposed(obj.status, "load balancer")


def ingress(obj: Snapshot) -> Health:
    """Judge an Ingress: always CURRENT, since many controllers never publish an address; the message tells it."""
    return _exposed(obj.status, "Ingress")


def _exposed(status: Json, what: str) -> Health:
    found = (
        text(entry, "hostname") or text(entry, "ip") for entry in entries(section(status, "loadBalancer"), "ingress")
    )
    addresses = [address for address in found if address]
    if addresses:
        return current(f"{what} address {', '.join(addresses)}")
    return current(f"no {what} address published yet", "NoAddress")


def custom_resource_definition(obj: Snapshot) -> Health:
    """Judge a definition: established is CURRENT, names taken by another one FAILED."""
    if conflict := obj.condition("NamesAccepted", "False"):
        return from_condition(HealthStatus.FAILED, conflict, "its names are not accepted")
    established = obj.condition("Established")
    if established and established.status == "True":
        return current("established", "Established")
    if established and established.status == "False" and established.reason != "Installing":
        return failed(established.reason or "NotEstablished", established.message or "not established")
    return in_progress("Installing", "not established yet")


def pod_disruption_budget(obj: Snapshot) -> Health:
    """Judge a budget: CURRENT once seen, as in kstatus; the message says how much it allows or why it can't tell."""
    synced = obj.condition("DisruptionAllowed", "False")
    if synced and synced.reason == "SyncFailed":
        return from_condition(HealthStatus.CURRENT, synced, "the disruptions allowed can't be computed")
    healthy, desired = count(obj.status, "currentHealthy"), count(obj.status, "desiredHealthy")
    allowed = count(obj.status, "disruptionsAllowed")
    return current(f"{allowed} disruptions allowed, {healthy} pods healthy, {desired} needed")


def horizontal_pod_autoscaler(obj: Snapshot) -> Health:
    """Judge an autoscaler: always current, as in Flux and kstatus, so that a cluster without metrics is no failure.

    What keeps it from scaling is said, unless it is off because its target has no replicas (ScalingDisabled) or waits
    between two scalings (Backoff…).
    """
    for kind in ("AbleToScale", "ScalingActive"):
        condition = obj.condition(kind, "False")
        if condition and condition.reason != "ScalingDisabled" and not condition.reason.startswith("Backoff"):
            return from_condition(HealthStatus.CURRENT, condition)
    have, want = count(obj.status, "currentReplicas"), count(obj.status, "desiredReplicas")
    return current(f"{have} replicas, {want} wanted")


def api_service(obj: Snapshot) -> Health:
    """Judge an aggregated API by its Available condition, which the API server sets for each of them."""
    available = obj.condition("Available")
    if available is None:
        return in_progress("NotChecked", "its availability has not been checked yet")
    if available.status == "True":
        return current("the API is available", "Available")
    return from_condition(HealthStatus.IN_PROGRESS, available, "the API is not available")


def namespace(obj: Snapshot) -> Health:
    """Judge a Namespace by its phase; one that was just made has none and can be used already."""
    if text(obj.status, "phase") == "Terminating":
        return terminating(obj)
    return current("the Namespace is active")


def terminating(obj: Snapshot) -> Health:
    """Return that an object is being deleted and what that waits for, as far as the object tells."""
    since = text(obj.metadata, "deletionTimestamp")
    message = f"being deleted since {since}" if since else "being deleted"
    listed = obj.metadata.get("finalizers")
    finalizers = [entry for entry in listed if isinstance(entry, str)] if isinstance(listed, list) else []
    if finalizers:
        message += f", waits for finalizers {', '.join(finalizers)}"
    if obj.kind == "Namespace":
        # The namespace controller's conditions: what is left in it, and what failed to go.
        left = [entry.message for entry in obj.conditions if entry.status == "True" and entry.message]
        message = "; ".join([message, *left])
    return Health(HealthStatus.TERMINATING, "Terminating", message)
