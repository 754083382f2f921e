"""One action on a release in a real cluster, for tests/tests/helm.

usage: release.py ACTION NAMESPACE NAME KUBECONFIG    with install, render, upgrade, rollback, test or uninstall

`install`, `render` and `upgrade` read values (JSON) from stdin; but for `render`, which makes nothing, they wait until everything is ready. The release's summary is printed as JSON.
"""

import json
import sys
from pathlib import Path

import helm_python as helm

CHART = Path(__file__).resolve().parents[2] / "deploy/helm/stocktake"

# Seconds. The bed's node may be busy with other tests.
TIMEOUT = 180


def main():
    action, namespace, name, kubeconfig = sys.argv[1:]
    with helm.Config(kubeconfig_path=kubeconfig, namespace=namespace) as cluster:
        waiting = {"timeout": TIMEOUT, "wait": "legacy"}
        if action == "install":
            done = cluster.install(CHART, name, json.load(sys.stdin), namespace=namespace, **waiting)
        elif action == "render":
            done = cluster.install(CHART, name, json.load(sys.stdin), namespace=namespace, dry_run="server")
        elif action == "upgrade":
            done = cluster.upgrade(CHART, name, json.load(sys.stdin), namespace=namespace, reset_values=True, **waiting)
        elif action == "rollback":
            done = cluster.rollback(name, **waiting)
        elif action == "test":
            done = cluster.test(name, timeout=TIMEOUT)
        elif action == "uninstall":
            done = cluster.uninstall(name, timeout=TIMEOUT, wait="legacy")
        else:
            raise SystemExit(f"there is no action {action}")
        json.dump(done, sys.stdout)


main()
