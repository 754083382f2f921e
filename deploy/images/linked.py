"""Takes out of a bill of materials what is not in the binary.

cargo-cyclonedx tells what the lock file has for any member of the workspace, with every feature that any of them asks for, and
macros, which only the compiler runs. What is linked, cargo tells: `linked.py BILL`, with `cargo tree` on standard input,
writes the bill to standard output.
"""

import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    bill = json.load(file)
# NAME vVERSION, and where it is from.
linked = {tuple(line.split()[:2]) for line in sys.stdin if line.strip()}
itself = bill["metadata"]["component"]
known = [component for component in [itself, *bill["components"]] if (component["name"], "v" + component["version"]) in linked]
missing = linked - {(component["name"], "v" + component["version"]) for component in known}
if missing:
    sys.exit(f"the bill of materials lacks what is linked: {sorted(missing)}")
references = {component["bom-ref"] for component in known}
bill["components"] = [component for component in known if component is not itself]
bill["dependencies"] = [
    {"ref": one["ref"], **({"dependsOn": kept} if (kept := [to for to in one.get("dependsOn", []) if to in references]) else {})}
    for one in bill["dependencies"]
    if one["ref"] in references
]
json.dump(bill, sys.stdout, indent=2, ensure_ascii=False)
print()
