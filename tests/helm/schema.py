"""Prints values.schema.json: the types of values.yaml, and what it says of them (`# -- …`)."""

import json
import re
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[2] / "deploy/helm/stocktake"

# Of these somebody else says what may stand in them: Kubernetes, the agent, the server, the Prometheus operator.
FREE = re.compile(
    r"(.*\.)?(resources|\w*Probe|\w*[sS]ecurityContext|strategy|updateStrategy|credentials|config\.\w+|collectors)$"
)

WORDS = {
    "pullPolicy": ["Always", "IfNotPresent", "Never"],
    "logFormat": ["text", "json"],
    "dnsPolicy": ["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
    "server.database": ["sqlite", "postgresql"],
    "server.service.type": ["ClusterIP", "NodePort", "LoadBalancer"],
}

# One of a group is enough.
OPTIONAL = re.compile(r".*\.(podDisruptionBudget|sockets)\.\w+$")

# A number of pods, or how many of a hundred.
NUMBERS = {"minAvailable", "maxUnavailable"}


def described(text):
    """What the comment before a key says, by path."""
    found, path, comment = {}, [], []
    for line in text.splitlines():
        if said := re.match(r" *# ?(-- )?(.*)", line):
            comment = [said[2]] if said[1] else comment + [said[2]] if comment else []
            continue
        if key := re.match(r"( *)([\w.-]+):", line):
            path = path[: len(key[1]) // 2] + [key[2]]
            if comment:
                found[".".join(path)] = " ".join(comment)
        comment = []
    return found


def needs(path, value):
    """Whether templates cannot do without it. A list may be gone, and what is Kubernetes' or the programs' to know."""
    return value not in ("", {}) and not isinstance(value, list) and not OPTIONAL.match(path) and not FREE.match(path)


def schema(path, value, said):
    last = path.rsplit(".", 1)[-1]
    words = WORDS.get(path, WORDS.get(last))
    if words:
        kind = {"enum": words}
    elif last in NUMBERS:
        kind = {"type": ["string", "integer"]}
    elif isinstance(value, bool):
        kind = {"type": "boolean"}
    elif isinstance(value, int):
        kind = {"type": "integer"}
    elif isinstance(value, str):
        kind = {"type": "string"}
    elif isinstance(value, list):
        kind = {"type": "array"}
    elif not value or (FREE.match(path) and path != "server.credentials"):
        kind = {"type": "object"}
    else:
        inner = {key: schema(f"{path}.{key}" if path else key, item, said) for key, item in value.items()}
        # A null takes away the default, and Helm looks here afterwards: `server:` with nothing below it is no server, and
        # would fail somewhere in a template.
        needed = [key for key, item in value.items() if needs(f"{path}.{key}", item)]
        kind = {"type": "object", "additionalProperties": False, "properties": inner}
        kind |= {"required": needed} if needed else {}
    return ({"description": said[path]} if path in said else {}) | kind


def main():
    text = (CHART / "values.yaml").read_text()
    document = schema("", yaml.safe_load(text), described(text))
    # What Helm adds for charts that have this one among them.
    document["properties"]["global"] = {"type": "object"}
    print(json.dumps({"$schema": "http://json-schema.org/draft-07/schema#"} | document, indent=2))


main()
