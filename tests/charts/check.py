"""The checks of tests/charts/run, which says what they are and runs this in its venv."""

import copy
import difflib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import hcl2
import kubernetes_validate
import yaml
from cel_expr_python import cel
from helm_python import HelmError
from helm_python.chart import Chart, lint
from yamllint import linter
from yamllint.config import YamlLintConfig

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests/charts"
CHART = ROOT / "charts/exectrace"
RELEASE = NAMESPACE = "exectrace"
UPDATE = bool(os.environ.get("UPDATE"))

# The oldest Kubernetes for each mode of the sidecar, and the newest that there are schemas for.
NEWEST = kubernetes_validate.latest_version()
OLDEST = {"native-sidecar": "1.29", "container": "1.25"}
# kubernetes-validate has schemas of Kubernetes itself only.
WITHOUT_SCHEMA = {
    ("cert-manager.io/v1", "Certificate"),
    ("cert-manager.io/v1", "Issuer"),
    ("exectrace.dev/v1alpha1", "ProcessLogging"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"),
}

failures = []


def fail(where, what):
    failures.append(f"{where}: {what}")


def expect(where, condition, what):
    if not condition:
        fail(where, what)


def same(where, found, wanted):
    if found != wanted:
        lines = [yaml.safe_dump(value, sort_keys=True).splitlines() for value in (wanted, found)]
        fail(where, "\n" + "\n".join(difflib.unified_diff(*lines, "wanted", "found", lineterm="")))


def documents(text):
    return [document for document in yaml.safe_load_all(text) if document]


def render(chart, values):
    """The objects, as one text; and the notes."""
    files = chart.render(values, name=RELEASE, namespace=NAMESPACE)
    notes = files.pop("exectrace/templates/NOTES.txt")
    parts = [
        f"---\n# Source: {name}\n{text.strip()}\n" for name, text in sorted(files.items()) if documents(text)
    ]
    return "".join(parts), notes


def golden(name, text):
    file = HERE / "golden" / f"{name}.yaml"
    if UPDATE:
        file.write_text(text)
    old = file.read_text() if file.is_file() else ""
    if old != text:
        diff = difflib.unified_diff(
            old.splitlines(), text.splitlines(), str(file.relative_to(ROOT)), "rendered now", lineterm=""
        )
        fail(name, "the chart renders otherwise than the golden file says (UPDATE=1 writes it):\n" + "\n".join(diff))


def against_schemas(where, objects, versions):
    for item in objects:
        kind = (item["apiVersion"], item["kind"])
        if kind in WITHOUT_SCHEMA:
            continue
        for version in versions:
            try:
                kubernetes_validate.validate(item, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = ".".join(str(part) for part in error.path)
                fail(where, f"{kind[1]} {item['metadata']['name']} against {version}: {path}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError as error:
                fail(where, error.message)


def of_kind(objects, kind):
    return [item for item in objects if item["kind"] == kind]


def the(objects, kind):
    (item,) = of_kind(objects, kind)
    return item


def fact_webhook_covers_what_is_opted_in_and_cannot_be_left(where, objects, values):
    (webhook,) = the(objects, "MutatingWebhookConfiguration")["webhooks"]
    same(where, webhook["failurePolicy"], values.get("webhook", {}).get("failurePolicy", "Fail"))
    for selector in ("objectSelector", "matchConditions"):
        expect(where, selector not in webhook, f"{selector}: who makes a pod could opt out")
    wanted = {
        "admissionReviewVersions": ["v1"],
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "rules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
             "scope": "Namespaced"}
        ],
    }
    same(where, {key: webhook[key] for key in wanted}, wanted)
    expect(where, 1 <= webhook["timeoutSeconds"] <= 30, "timeoutSeconds")
    selector = webhook["namespaceSelector"]
    same(where, selector["matchLabels"], {"exectrace.dev/workspaces": "true"})
    (expression,) = selector["matchExpressions"]
    same(where, (expression["key"], expression["operator"]), ("kubernetes.io/metadata.name", "NotIn"))
    expect(where, {"kube-system", NAMESPACE} <= set(expression["values"]), "its own namespace could be selected")
    service = the(objects, "Service")
    client = webhook["clientConfig"]["service"]
    same(where, (client["name"], client["namespace"]), (service["metadata"]["name"], NAMESPACE))
    expect(where, client["port"] in [port["port"] for port in service["spec"]["ports"]], "the service lacks its port")


def fact_webhook_pod_passes_the_level_restricted(where, objects, _values):
    spec = the(objects, "Deployment")["spec"]["template"]["spec"]
    pod = spec.get("securityContext", {})
    for flag in ("hostNetwork", "hostPID", "hostIPC"):
        expect(where, not spec.get(flag), flag)
    allowed = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for volume in spec.get("volumes", []):
        expect(where, set(volume) - {"name"} <= allowed, f"volume {volume['name']}")
    expect(where, not pod.get("sysctls") and "windowsOptions" not in pod and "seLinuxOptions" not in pod, "pod options")
    for container in spec["containers"] + spec.get("initContainers", []):
        own = container["securityContext"]
        name = container["name"]

        def either(key, own=own):
            return own.get(key, pod.get(key))

        expect(where, either("runAsNonRoot") is True, f"{name}: runAsNonRoot")
        expect(where, isinstance(either("runAsUser"), int) and either("runAsUser") > 0, f"{name}: runAsUser")
        expect(where, (either("seccompProfile") or {}).get("type") in ("RuntimeDefault", "Localhost"), f"{name}: seccomp")
        expect(where, own.get("allowPrivilegeEscalation") is False, f"{name}: allowPrivilegeEscalation")
        expect(where, not own.get("privileged"), f"{name}: privileged")
        expect(where, own["capabilities"].get("drop") == ["ALL"], f"{name}: drops not all capabilities")
        expect(where, set(own["capabilities"].get("add", [])) <= {"NET_BIND_SERVICE"}, f"{name}: adds capabilities")
        expect(where, "procMount" not in own and "seLinuxOptions" not in own, f"{name}: options")
        expect(where, all("hostPort" not in port for port in container.get("ports", [])), f"{name}: hostPort")
        # Not part of the level.
        expect(where, own.get("readOnlyRootFilesystem") is True, f"{name}: readOnlyRootFilesystem")
        expect(where, container["resources"].get("requests") and container["resources"].get("limits"), f"{name}: resources")


def fact_roles_are_small(where, objects, _values):
    by_name_only = {"secrets", "leases", "mutatingwebhookconfigurations", "configmaps", "deployments"}
    for role in of_kind(objects, "ClusterRole") + of_kind(objects, "Role"):
        name = f"{where}: {role['kind']} {role['metadata']['name']}"
        for rule in role["rules"]:
            words = rule["apiGroups"] + rule["resources"] + rule["verbs"]
            expect(name, "*" not in "".join(words), f"a wildcard: {rule}")
            expect(name, not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"]), f"{rule}")
            expect(name, "pods/exec" not in rule["resources"], f"{rule}")
            if by_name_only & set(rule["resources"]) and rule["verbs"] != ["create"]:
                expect(name, rule.get("resourceNames"), f"not limited by resourceNames: {rule}")
            if "secrets" in rule["resources"]:
                expect(name, role["kind"] == "Role", "Secrets of all namespaces")
            writes = set(rule["verbs"]) & {"create", "delete", "patch", "update"}
            mine = role["metadata"]["name"] == the(objects, "Deployment")["metadata"]["name"]
            if mine and writes:
                expect(name, "pods" not in rule["resources"], f"the webhook may write pods: {rule}")
    account = the(objects, "ServiceAccount")["metadata"]["name"]
    same(where, the(objects, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"], account)
    for binding in of_kind(objects, "ClusterRoleBinding") + of_kind(objects, "RoleBinding"):
        same(where, binding["subjects"], [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}])
        refers = [role["metadata"]["name"] for role in of_kind(objects, binding["roleRef"]["kind"])]
        expect(where, binding["roleRef"]["name"] in refers, "a binding of a role that is not there")


def fact_selectors_and_ports_find_the_webhook(where, objects, _values):
    template = the(objects, "Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    ports = {port["name"] for port in template["spec"]["containers"][0]["ports"]}
    service = the(objects, "Service")
    selectors = [the(objects, "Deployment")["spec"]["selector"]["matchLabels"], service["spec"]["selector"]]
    selectors += [item["spec"]["selector"]["matchLabels"] for item in of_kind(objects, "PodDisruptionBudget")]
    selectors += [item["spec"]["podSelector"]["matchLabels"] for item in of_kind(objects, "NetworkPolicy")]
    for selector in selectors:
        expect(where, selector and selector.items() <= labels, f"selects something else: {selector}")
    for port in service["spec"]["ports"]:
        expect(where, port["targetPort"] in ports, f"the service's port {port['name']}")
    for policy in of_kind(objects, "NetworkPolicy"):
        named = {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]}
        expect(where, named <= ports and "https" in named, f"the policy's ports {named}")
    for monitor in of_kind(objects, "ServiceMonitor"):
        selector = monitor["spec"]["selector"]["matchLabels"].items()
        expect(where, selector <= service["metadata"]["labels"].items(), "the monitor finds no service")


def fact_settings_are_those_of_the_program(where, objects, _values):
    settings = yaml.safe_load(the(objects, "ConfigMap")["data"]["settings.yaml"])
    source = (ROOT / "crates/exectrace-k8s/src/settings.rs").read_text()
    fields = re.findall(r"^    pub (\w+):", re.search(r"pub struct Settings \{(.*?)\n\}", source, re.S)[1], re.M)
    camel = {re.sub(r"_(\w)", lambda match: match[1].upper(), field) for field in fields}
    # The object of kind ProcessLogging says whether it is enabled.
    same(where, sorted(settings), sorted(camel - {"enabled"}))
    image = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"]
    same(where, settings["image"], image)


def fact_certificate_reaches_the_webhook(where, objects, values):
    mode = values.get("tls", {}).get("mode", "self-managed")
    container = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    configuration = the(objects, "MutatingWebhookConfiguration")
    args = " ".join(container["args"])
    expect(where, ("--tls-secret=" in args) == (mode == "self-managed"), "--tls-secret")
    expect(where, ("--tls-cert=" in args) == (mode != "self-managed"), "--tls-cert")
    bundle = configuration["webhooks"][0]["clientConfig"].get("caBundle")
    expect(where, bool(bundle) == (mode == "given-secret"), "caBundle")
    named = [item["metadata"]["name"] for item in of_kind(objects, "Certificate")]
    injected = configuration["metadata"].get("annotations", {}).get("cert-manager.io/inject-ca-from")
    if mode == "cert-manager":
        expect(where, injected.split("/")[1] in named, "the CA is taken from a certificate that is not there")
    else:
        expect(where, not named and not injected, "cert-manager is asked, and has not been chosen")


def fact_notes_name_the_next_command(where, notes, values):
    next_command = "exectrace enable" if values.get("processLogging", {}).get("enabled") is None else "kubectl label"
    expect(where, next_command in notes, f"the notes do not name {next_command}")
    expect(where, "exectrace status --check-nodes" in notes, "the notes do not name status")


def values_and_schema_agree(values, schema, path=""):
    """Every value is in the schema and the other way round, and nothing else is allowed."""
    if schema.get("type") != "object" or "properties" not in schema:
        return
    expect("values.schema.json", schema.get("additionalProperties") is False, f"{path or '/'} lets in other keys")
    if path and not values:
        return
    known = set(schema["properties"]) - {"global"}
    optional = known - set(schema.get("required", []))
    expect("values.yaml", set(values) <= known and known - set(values) <= optional, f"{path}: {set(values) ^ known}")
    for key, value in values.items():
        if isinstance(value, dict):
            values_and_schema_agree(value, schema["properties"].get(key, {}), f"{path}/{key}")


def wrong_values_are_refused(chart):
    files = sorted((HERE / "wrong").glob("*.yaml"))
    expect("tests/charts/wrong", len(files) >= 10, "has too few files")
    for file in files:
        expected = re.match(r"# expect: (.*)", file.read_text())[1]
        try:
            render(chart, yaml.safe_load(file.read_text()))
            fail(file.relative_to(ROOT), f"is not refused; expected: {expected}")
        except HelmError as error:
            expect(file.relative_to(ROOT), expected in str(error), f"expected: {expected}\nfound: {error}")


def old_clusters_are_told():
    """Only lint can be told the version of a cluster, and it writes what a template refuses to stderr."""
    program = (
        "import sys, json; from helm_python.chart import lint;"
        "lint(sys.argv[1], json.loads(sys.argv[2]), kube_version=sys.argv[3])"
    )
    for mode, version, told in [
        ("native-sidecar", "v1.28.9", True), ("native-sidecar", "v1.29.0", False), ("container", "v1.25.0", False)
    ]:
        values = {"image": {"repository": "example.com/exectrace", "tag": "1"}, "sidecar": {"mode": mode}}
        call = [sys.executable, "-c", program, CHART, json.dumps(values), version]
        output = subprocess.run(call, check=True, capture_output=True, text=True).stderr
        found = "native sidecars need 1.29: set sidecar.mode to container" in output
        expect(f"{mode} on {version}", found == told, f"told: {found}; wanted: {told}; {output}")


def yaml_is_tidy():
    config = YamlLintConfig(file=str(HERE / "yamllint.yaml"))
    files = [CHART / "Chart.yaml", CHART / "values.yaml", *CHART.glob("ci/*.yaml"), *CHART.glob("crds/*.yaml")]
    files += [*HERE.glob("wrong/*.yaml"), *(ROOT / "examples").glob("**/*.yaml")]
    for file in files:
        for problem in linter.run(file.read_text(), config, str(file)):
            fail(file.relative_to(ROOT), f"{problem.line}: {problem.desc}")


def definition_is_valid():
    (definition,) = documents((CHART / "crds/processlogging.yaml").read_text())
    against_schemas("crds", [definition], ["1.25", NEWEST])
    same("crds", definition["metadata"]["name"], "processloggings.exectrace.dev")
    (version,) = definition["spec"]["versions"]
    same("crds", version["subresources"], {"status": {}})
    names = [column["name"] for column in version["additionalPrinterColumns"]]
    same("crds", names[:4], ["Enabled", "Traced", "Needs-rebuild", "Nodes-ready"])


# Blocks of the kubernetes provider that are lists in Kubernetes, with the names of those.
LISTS = {
    "init_container": "initContainers", "container": "containers", "volume": "volumes", "env": "env", "port": "ports",
    "volume_mount": "volumeMounts", "items": "items",
}


def as_kubernetes(value, key=""):
    """A block of the Terraform provider for Kubernetes, as the object that it stands for."""
    if isinstance(value, dict):
        if "__is_block__" not in value:
            return {name.strip('"'): as_kubernetes(item) for name, item in value.items()}
        result = {}
        for name, item in value.items():
            if name in ("__is_block__", "__comments__"):
                continue
            camel = {"downward_api": "downwardAPI"}.get(name) or re.sub(r"_(\w)", lambda match: match[1].upper(), name)
            if isinstance(item, list) and item and isinstance(item[0], dict):
                blocks = [as_kubernetes(block, name) for block in item]
                result[LISTS.get(name, camel)] = blocks if name in LISTS else blocks[0]
            else:
                result[camel] = as_kubernetes(item, name)
        return result
    if isinstance(value, list):
        return [as_kubernetes(item) for item in value]
    if isinstance(value, str):
        text = value.strip('"')
        if key == "default_mode":
            return int(text, 8)
        return int(text) if key in ("run_as_user", "run_as_group") else text
    return value


def terraform_has_the_sidecar_of_the_webhook():
    where = "examples/coder-template/main.tf"
    tree = hcl2.loads((ROOT / where).read_text())
    image = next(item for item in tree["variable"] if '"exectrace_image"' in item)['"exectrace_image"']["default"]
    (deployment,) = (item for item in tree["resource"] if '"kubernetes_deployment_v1"' in item)
    body = deployment['"kubernetes_deployment_v1"']['"main"']
    body = as_kubernetes({"__is_block__": True, **{key: body[key] for key in ("metadata", "spec")}})
    pod = body["spec"]["template"]["spec"]
    sidecar = pod["initContainers"][0]
    same(where, sidecar["image"], "${var.exectrace_image}")
    sidecar["image"] = image.strip('"')
    wanted = yaml.safe_load((HERE / "sidecar.yaml").read_text())
    same(f"{where}: the container", sidecar, wanted["container"])
    same(f"{where}: the volumes", pod["volumes"], wanted["volumes"])
    labels = body["spec"]["template"]["metadata"]["labels"]
    expect(where, {"com.coder.user.username", "com.coder.workspace.name"} <= set(labels), "labels by which logs finds it")
    body["spec"]["selector"]["matchLabels"] = {"a": "b"}
    whole = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "main"}, "spec": body["spec"]}
    against_schemas(where, [whole], ["1.29", NEWEST])


def policy_verdicts(policy, pod, old=None):
    """The messages of the validations that refuse a pod. CEL runs as Google's C++ runtime has it, not as Go's."""
    names = ("object", "oldObject", "variables")
    environment = cel.NewEnv(variables={name: cel.Type.DYN for name in names})
    data = {"object": pod, "oldObject": old, "variables": {}}
    spec = policy["spec"]
    for condition in spec["matchConditions"]:
        if not environment.compile(condition["expression"]).eval(data=data).plain_value():
            return []
    for variable in spec["variables"]:
        data["variables"][variable["name"]] = environment.compile(variable["expression"]).eval(data=data).plain_value()
    return [
        validation["message"]
        for validation in spec["validations"]
        if environment.compile(validation["expression"]).eval(data=data).plain_value() is not True
    ]


def policy_lets_in_the_sidecar_and_nothing_more():
    where = "examples/admission-policy.yaml"
    objects = documents((ROOT / where).read_text())
    against_schemas(where, objects, ["1.30", NEWEST])
    policy = the(objects, "ValidatingAdmissionPolicy")
    sidecar = yaml.safe_load((HERE / "sidecar.yaml").read_text())

    def pod():
        """A workspace's, as the webhook leaves it."""
        return copy.deepcopy({
            "metadata": {"name": "main", "annotations": {"exectrace.dev/status": "{}"}},
            "spec": {
                "initContainers": [sidecar["container"]],
                "containers": [{"name": "main", "image": "example.com/workspace:1",
                                "securityContext": {"capabilities": {"add": ["CHOWN"]}}}],
                "volumes": [*sidecar["volumes"], {"name": "home", "persistentVolumeClaim": {"claimName": "home"}}],
            },
        })

    same(where, policy_verdicts(policy, pod()), [])
    without = pod()
    del without["spec"]["initContainers"], without["spec"]["volumes"], without["metadata"]["annotations"]
    same(f"{where}: a pod without the sidecar", policy_verdicts(policy, without), [])
    ordinary = pod()
    ordinary["spec"]["containers"].append(ordinary["spec"].pop("initContainers")[0])
    same(f"{where}: an ordinary container", policy_verdicts(policy, ordinary), [])

    older = pod()
    older["spec"]["initContainers"][0]["image"] = "example.com/exectrace:0.0.9"
    labelled = copy.deepcopy(older)
    labelled["metadata"]["labels"] = {"com.coder.user.username": "zac"}
    same(f"{where}: a pod of before, with another label", policy_verdicts(policy, labelled, older), [])
    labelled["spec"]["containers"][0]["image"] = "example.com/workspace:2"
    expect(f"{where}: a pod of before, changed", policy_verdicts(policy, labelled, older), "is let in")

    def ours(pod):
        return pod["spec"]["initContainers"][0]

    def workspace(pod):
        return pod["spec"]["containers"][0]

    def adds(container, *names):
        container["securityContext"]["capabilities"]["add"] = list(names)

    as_made = "must be as the webhook makes"
    no_capability = "no other capabilities"
    refused = [
        ("BPF for the workspace", lambda p: adds(workspace(p), "BPF"), no_capability),
        ("another image", lambda p: ours(p).update(image="example.com/other:1"), no_capability),
        ("SYS_ADMIN for ours", lambda p: adds(ours(p), "BPF", "SYS_ADMIN"), "BPF, PERFMON and SYS_RESOURCE only"),
        ("another command", lambda p: ours(p).update(args=["trace", "--all"]), as_made),
        ("no arguments", lambda p: ours(p).pop("args"), as_made),
        ("a UID by hand", lambda p: ours(p)["env"].__setitem__(0, {"name": "EXECTRACE_POD_UID", "value": "x"}), as_made),
        ("more environment", lambda p: ours(p)["env"].append({"name": "EXECTRACE_POD_UID", "value": "x"}), as_made),
        ("a hook", lambda p: ours(p).update(lifecycle={"postStart": {"exec": {"command": ["/exectrace"]}}}), as_made),
        ("another probe", lambda p: ours(p)["startupProbe"]["exec"].update(command=["/exectrace", "trace"]), as_made),
        ("a liveness probe", lambda p: ours(p).update(livenessProbe={"exec": {"command": ["/exectrace"]}}), as_made),
        ("a mount over the program", lambda p: ours(p)["volumeMounts"].append(
            {"name": "exectrace-run", "mountPath": "/exectrace", "subPath": "x"}), as_made),
        ("our volume in the workspace", lambda p: workspace(p).update(
            volumeMounts=[{"name": "exectrace-run", "mountPath": "/mnt"}]), "may mount its volumes"),
        ("our volume as a claim", lambda p: p["spec"]["volumes"].__setitem__(
            0, {"name": "exectrace-run", "persistentVolumeClaim": {"claimName": "x"}}), "may mount its volumes"),
        ("the host's processes", lambda p: p["spec"].update(hostPID=True), "namespaces of the host"),
        ("a privileged workspace", lambda p: workspace(p)["securityContext"].update(privileged=True), "privileged"),
        ("ours privileged", lambda p: ours(p)["securityContext"].update(privileged=True), "privileged"),
        ("a privileged ephemeral container", lambda p: p["spec"].update(
            ephemeralContainers=[{"name": "x", "securityContext": {"privileged": True}}]), "privileged"),
        ("an ephemeral container of our name", lambda p: p["spec"].update(ephemeralContainers=[
            {"name": "exectrace", "image": ours(p)["image"], "command": ["/exectrace", "trace", "--all"],
             "securityContext": {"capabilities": {"add": ["BPF", "PERFMON"]}}}]), as_made),
        ("a folder of the host", lambda p: p["spec"]["volumes"].append(
            {"name": "x", "hostPath": {"path": "/"}}), "hostPath"),
        ("a port of the host", lambda p: workspace(p).update(ports=[{"containerPort": 1, "hostPort": 1}]), "ports"),
        ("no seccomp", lambda p: workspace(p)["securityContext"].update(
            seccompProfile={"type": "Unconfined"}), "seccomp"),
        ("no AppArmor", lambda p: p["metadata"]["annotations"].update(
            {"container.apparmor.security.beta.kubernetes.io/main": "unconfined"}), "AppArmor"),
        ("a type of SELinux", lambda p: p["spec"].update(
            securityContext={"seLinuxOptions": {"type": "spc_t"}}), "SELinux"),
        ("the whole of proc", lambda p: workspace(p)["securityContext"].update(procMount="Unmasked"), "proc mount"),
        ("a sysctl", lambda p: p["spec"].update(
            securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}), "sysctls"),
        ("a host process", lambda p: p["spec"].update(
            securityContext={"windowsOptions": {"hostProcess": True}}), "Windows"),
    ]
    seen = set()
    for what, change, message in refused:
        changed = pod()
        change(changed)
        verdicts = policy_verdicts(policy, changed)
        seen.update(verdicts)
        expect(f"{where}: {what}", any(message in verdict for verdict in verdicts), f"not refused so: {verdicts}")
    same(f"{where}: validations that refused nothing here",
         sorted({validation["message"] for validation in policy["spec"]["validations"]} - seen), [])


def main():
    chart = Chart.load(CHART)
    values_and_schema_agree(chart.values, chart.schema)
    cases = sorted(CHART.glob("ci/*.yaml"))
    same("tests/charts/golden", sorted(file.name for file in (HERE / "golden").glob("*.yaml")) if not UPDATE else
         [file.name for file in cases], [file.name for file in cases])
    facts = [function for name, function in globals().items() if name.startswith("fact_")]
    for case in cases:
        name, values = case.stem, yaml.safe_load(case.read_text())
        report = lint(CHART, values, strict=True, namespace=NAMESPACE)
        for message in report["messages"]:
            # 1 is information: that there is no icon.
            expect(f"{name}: lint", message["severity"] <= 1, f"{message['path']}: {message['error']}")
        expect(f"{name}: lint", not report["errors"], report["errors"])
        text, notes = render(chart, values)
        golden(name, text)
        objects = documents(text)
        mode = values.get("sidecar", {}).get("mode", "native-sidecar")
        # The budget has a field that 1.27 brought, as the chart is rendered for the newest.
        objects_for_old = [item for item in objects if item["kind"] != "PodDisruptionBudget"]
        against_schemas(name, objects, ["1.27" if mode == "container" else OLDEST[mode], NEWEST])
        against_schemas(name, objects_for_old, [OLDEST[mode]])
        for fact in facts:
            about = notes if fact is fact_notes_name_the_next_command else objects
            fact(f"{name}: {fact.__name__[5:].replace('_', ' ')}", about, values)
    wrong_values_are_refused(chart)
    old_clusters_are_told()
    yaml_is_tidy()
    definition_is_valid()
    terraform_has_the_sidecar_of_the_webhook()
    policy_lets_in_the_sidecar_and_nothing_more()
    if failures:
        print("\n".join(failures), file=sys.stderr)
        print(f"{len(failures)} failures", file=sys.stderr)
        sys.exit(1)
    print(f"charts: {len(cases)} sets of values render as they should, {len(list((HERE / 'wrong').iterdir()))} are refused")


if __name__ == "__main__":
    main()
