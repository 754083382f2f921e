#!/usr/bin/env python3
"""Records what a runtime answers to CRI, through curl and protoc, in the form that the collector's tests read.

usage: record.py SOCKET PROTO > RUNTIME-VERSION.json

PROTO is the folder that holds CRI's v1.proto (that of the crate k8s-cri). Needs curl, protoc and python3-protobuf.
"""
import importlib
import json
import subprocess
import sys
import tempfile

from google.protobuf.json_format import MessageToDict

SOCKET, PROTO = sys.argv[1:]
INTEGERS = {"created_at", "size", "value"}  # written as text, because they have 64 bits


def call(service, method):
    """One gRPC call without arguments: frames are a flag, four bytes of length, the message."""
    curl = ["curl", "--silent", "--show-error", "--fail", "--http2-prior-knowledge", "--unix-socket", SOCKET]
    headers = ["--header", "content-type: application/grpc", "--header", "te: trailers"]
    url = f"http://localhost/runtime.v1.{service}/{method}"
    command = [*curl, *headers, "--data-binary", "@-", url]
    frame = subprocess.run(command, input=bytes(5), check=True, stdout=subprocess.PIPE).stdout
    assert len(frame) >= 5, f"{method} failed"
    message = getattr(v1, f"{method}Response")()
    message.ParseFromString(frame[5:])
    return plain(
        MessageToDict(
            message, including_default_value_fields=True, preserving_proto_field_name=True, use_integers_for_enums=True
        )
    )


def plain(value, key=None):
    if isinstance(value, dict):
        return {key: plain(inner, key) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return int(value) if key in INTEGERS and isinstance(value, str) else value


with tempfile.TemporaryDirectory() as folder:
    subprocess.run(["protoc", f"--proto_path={PROTO}", f"--python_out={folder}", "v1.proto"], check=True)
    sys.path.insert(0, folder)
    v1 = importlib.import_module("v1_pb2")
    result = {
        "version": call("RuntimeService", "Version"),
        "containers": call("RuntimeService", "ListContainers"),
        "sandboxes": call("RuntimeService", "ListPodSandbox"),
        "images": call("ImageService", "ListImages"),
    }
json.dump(result, sys.stdout, indent=1, sort_keys=True)
print()
