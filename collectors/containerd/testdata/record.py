#!/usr/bin/env python3
"""Records what a containerd holds, through ctr, in the form that the collector's tests read.

usage: record.py ADDRESS > containerd-VERSION.json
"""
import json
import subprocess
import sys

ADDRESS = sys.argv[1]


def ctr(*arguments):
    return subprocess.run(["ctr", "--address", ADDRESS, *arguments], check=True, capture_output=True, text=True).stdout


def table(text):
    return [line.split() for line in text.splitlines()[1:] if line.strip()]


def containers(namespace):
    for name in ctr("-n", namespace, "containers", "list", "-q").split():
        record = json.loads(ctr("-n", namespace, "containers", "info", name))
        record.pop("Spec")  # never read by the collector; it holds environment variables
        yield record


def blobs(namespace):
    for digest in ctr("-n", namespace, "content", "list", "-q").split():
        text = subprocess.run(
            ["ctr", "--address", ADDRESS, "-n", namespace, "content", "get", digest], check=True, capture_output=True
        ).stdout
        if text.startswith(b"{"):  # a document, not a layer
            yield digest, text.decode()


result = {}
for namespace in ctr("namespaces", "list", "-q").split():
    result[namespace] = {
        "containers": list(containers(namespace)),
        "tasks": [{"id": row[0], "status": row[2]} for row in table(ctr("-n", namespace, "tasks", "list"))],
        "images": [
            {"name": row[0], "media_type": row[1], "digest": row[2]}
            for row in table(ctr("-n", namespace, "images", "list"))
        ],
        "snapshots": [
            {"name": row[0], "parent": row[1] if len(row) == 3 else ""}
            for row in table(ctr("-n", namespace, "snapshots", "--snapshotter", "overlayfs", "list"))
        ],
        "content": dict(blobs(namespace)),
    }
json.dump(result, sys.stdout, indent=1)
print()
