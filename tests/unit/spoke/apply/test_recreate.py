"""Which refusals name a field that can't be changed: the API server's own words, of each kind that has some."""

from __future__ import annotations

import pytest

from felloe.errors import Cause, KubernetesError
from felloe.identity import ObjectId
from spoke.apply.recreate import advised, immutable, may_recreate

JOB = ObjectId("batch", "Job", "shop", "a")
CLAIM = ObjectId("", "PersistentVolumeClaim", "shop", "a")
INVALID, FORBIDDEN = "FieldValueInvalid", "FieldValueForbidden"


def refusal(field: str, message: str, reason: str = INVALID, status: int = 422) -> KubernetesError:
    text = f'"a" is invalid: {field}: {message}'
    return KubernetesError(text, status=status, reason="Invalid", causes=(Cause(field, reason, message),))


@pytest.mark.parametrize(
    ("field", "reason", "message"),
    [
        ("spec.template", INVALID, "Invalid value: core.PodTemplateSpec{…}: field is immutable"),
        ("spec.clusterIPs[0]", INVALID, 'Invalid value: []string{"10.0.0.2"}: may not change once set'),
        ("roleRef", INVALID, "Invalid value: rbac.RoleRef{…}: cannot change roleRef"),
        ("value", FORBIDDEN, "Forbidden: may not be changed in an update."),
        ("parameters", FORBIDDEN, "Forbidden: updates to parameters are forbidden."),
        ("spec", FORBIDDEN, "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"),
        (
            "spec",
            FORBIDDEN,
            "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals' are forbidden",
        ),
        ("spec", FORBIDDEN, "Forbidden: spec is immutable after creation except resources.requests"),
        ("data", FORBIDDEN, "Forbidden: field is immutable when `immutable` is set"),
        ("spec.size", INVALID, 'Invalid value: "integer": failed rule: self == oldSelf'),
    ],
)
def test_a_field_that_can_t_be_changed_is_named(field: str, reason: str, message: str) -> None:
    assert immutable(refusal(field, message, reason), tried=True) == field


def test_several_fields_are_named_and_others_are_not() -> None:
    causes = (
        Cause("spec.template", INVALID, "field is immutable"),
        Cause("spec.parallelism", INVALID, "must be greater than or equal to 0"),
        Cause("spec.selector", INVALID, "field is immutable"),
    )
    assert (
        immutable(KubernetesError("invalid", status=422, causes=causes), tried=False) == "spec.selector, spec.template"
    )


@pytest.mark.parametrize(
    "error",
    [
        refusal("spec.ports[0].port", "Invalid value: 99999: must be between 1 and 65535"),
        refusal("spec.template", "field is immutable", status=500),
        KubernetesError('configmaps is forbidden: User "u" cannot update resource "configmaps"', status=403),
        KubernetesError('User "u" cannot patch resource "configmaps"', status=403),
        KubernetesError("the object has been modified; please apply your changes to the latest version", status=409),
        KubernetesError("can't be reached"),
    ],
)
def test_other_refusals_are_no_reason_to_delete_anything(error: KubernetesError) -> None:
    assert immutable(error, tried=True) is None


def test_a_webhook_that_says_so_names_no_field() -> None:
    denied = KubernetesError('admission webhook "w" denied the request: spec.class is immutable', status=400)
    assert immutable(denied, tried=False) == ""


def test_what_is_only_forbidden_counts_where_a_new_object_is_tried_first() -> None:
    error = refusal("spec.x", "Forbidden: may not be set when `type` is ExternalName", FORBIDDEN)
    assert immutable(error, tried=True) == "spec.x"
    assert immutable(error, tried=False) is None


@pytest.mark.parametrize(
    ("identity", "workload", "own", "may"),
    [
        (JOB, True, False, True),
        (JOB, False, True, True),
        (JOB, False, False, False),
        (CLAIM, True, False, False),
        (CLAIM, False, True, True),
    ],
)
def test_whose_force_counts(identity: ObjectId, workload: bool, own: bool, may: bool) -> None:
    assert may_recreate(identity, workload=workload, own=own) is may


def test_a_long_refusal_is_told_by_its_ends() -> None:
    told = str(advised(JOB, "spec.template", refusal("spec.template", "x" * 5000 + ": field is immutable")))
    assert told.startswith("spec.template can't be changed: to delete it and make it again, set spec.force: true")
    assert told.endswith("xxx: field is immutable")
    assert len(told) < 700
