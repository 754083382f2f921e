"""The chart without a cluster, for tests/tests/helm: Helm's own library lints and renders it.

usage: chart.py lint | render | values | yaml FILE

`render` reads {"values": …} from stdin, a JSON document a line, and writes what becomes of each, one a line: {"objects": […]} or
{"error": …}. `values` prints the defaults, `yaml` the documents of a file.
"""

import json
import sys
from pathlib import Path

import helm_python as helm
import yaml

CHART = Path(__file__).resolve().parents[2] / "deploy/helm/stocktake"


def rendered(chart, values):
    """All objects, and the notes as one of kind `Notes`."""
    try:
        chart.validate_schema(values)
        files = chart.render(values, name="st", namespace="inventory")
    except helm.HelmError as error:
        return {"error": str(error)}
    objects = []
    for path, text in sorted(files.items()):
        if path.endswith("NOTES.txt"):
            objects.append({"kind": "Notes", "text": text})
            continue
        try:
            objects.extend(document for document in yaml.safe_load_all(text) if document)
        except yaml.YAMLError as error:
            return {"error": f"{path} is no YAML: {error}"}
    return {"objects": objects}


def main():
    command = sys.argv[1]
    if command == "lint":
        json.dump(helm.lint(CHART, json.load(sys.stdin), strict=True), sys.stdout)
        return
    if command == "yaml":
        documents = yaml.safe_load_all(Path(sys.argv[2]).read_text())
        json.dump([document for document in documents if document], sys.stdout)
        return
    with helm.Chart.load(CHART) as chart:
        if command == "values":
            json.dump(chart.values, sys.stdout)
        elif command == "render":
            for line in sys.stdin:
                print(json.dumps(rendered(chart, json.loads(line))))


main()
