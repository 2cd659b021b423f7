"""The Python client's everyday calls against a running server; fails with a traceback."""
import sys

from kubernetes import client, config, watch

config.load_kube_config(sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()

core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="py")))
created = core.create_namespaced_config_map(
    "py", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c", labels={"a": "b"}), data={"k": "1"}))
assert created.metadata.resource_version

core.patch_namespaced_config_map("c", "py", {"data": {"k": "2"}})
events = []
for event in watch.Watch().stream(core.list_namespaced_config_map, "py", resource_version=created.metadata.resource_version,
                                  timeout_seconds=10):
    events.append((event["type"], event["object"].data["k"]))
    if len(events) == 1:
        break
assert events == [("MODIFIED", "2")], events

found = core.list_namespaced_config_map("py", label_selector="a=b")
assert [m.metadata.name for m in found.items] == ["c"]

container = client.V1Container(name="c", image="example.test/i:1")
template = client.V1PodTemplateSpec(metadata=client.V1ObjectMeta(labels={"x": "y"}), spec=client.V1PodSpec(containers=[container]))
spec = client.V1DeploymentSpec(selector=client.V1LabelSelector(match_labels={"x": "y"}), template=template)
deployment = apps.create_namespaced_deployment("py", client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec))
assert deployment.spec.replicas == 1
scale = apps.patch_namespaced_deployment_scale("d", "py", {"spec": {"replicas": 4}})
assert scale.spec.replicas == 4

try:
    core.read_namespaced_config_map("none", "py")
    raise SystemExit("a missing object was found")
except client.exceptions.ApiException as error:
    assert error.status == 404, error

core.delete_namespaced_config_map("c", "py")
review = client.AuthorizationV1Api().create_self_subject_access_review(
    client.V1SelfSubjectAccessReview(spec=client.V1SelfSubjectAccessReviewSpec(
        resource_attributes=client.V1ResourceAttributes(verb="get", resource="pods"))))
assert review.status.allowed
print("ok")
