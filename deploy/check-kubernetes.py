"""What kustomization.yaml names is there, and what belongs together in the manifests does."""

import pathlib
import sys

import yaml

folder = pathlib.Path("kubernetes")
kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
named = set(kustomization["resources"])
there = {path.name for path in folder.glob("*.yaml")} - {"kustomization.yaml", "secret.example.yaml"}
assert named == there, f"kustomization.yaml names {named}, there are {there}"

kinds = {}
for name in there | {"secret.example.yaml"}:
    for document in yaml.safe_load_all((folder / name).read_text()):
        kinds.setdefault(document["kind"], {})[document["metadata"]["name"]] = document

target = kinds["ScaledObject"]["executor"]["spec"]["scaleTargetRef"]["name"]
assert target in kinds["Deployment"], target


def pods():
    for deployment in kinds["Deployment"].values():
        selector = deployment["spec"]["selector"]["matchLabels"]
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert selector.items() <= labels.items(), deployment["metadata"]["name"]
        yield deployment["spec"]["template"]
    for job in kinds["CronJob"].values():
        yield job["spec"]["jobTemplate"]["spec"]["template"]


for pod in pods():
    spec = pod["spec"]
    assert spec["securityContext"]["runAsNonRoot"] and spec["automountServiceAccountToken"] is False
    assert spec["serviceAccountName"] in kinds["ServiceAccount"]
    for container in spec["containers"]:
        assert container["image"] in {image["name"] for image in kustomization["images"]}, container["image"]
        assert container["resources"]["requests"]["memory"] and container["resources"]["limits"]["memory"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        for source in container.get("envFrom", []):
            for kind, of in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                assert kind not in source or source[kind]["name"] in kinds[of], source
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        assert mounts <= {volume["name"] for volume in spec.get("volumes", [])}, mounts
service = kinds["Service"]["scheduler"]["spec"]["selector"]
assert service.items() <= kinds["Deployment"]["scheduler"]["spec"]["template"]["metadata"]["labels"].items()
print(f"{sum(map(len, kinds.values()))} objects belong together", file=sys.stderr)
