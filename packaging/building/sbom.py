"""The bill of materials: which crates are in the executable and the modules in it, as CycloneDX 1.5."""

import json

from . import crate

# The executable, the native module that it contains, and the program of fronts.
ROOTS = ["rcorn", "rcorn-native", "rcorn-front"]


def dependencies(resolved):
    """The ids of the packages that are compiled in: not those of tests and build scripts."""
    nodes = {node["id"]: node for node in resolved["resolve"]["nodes"]}
    waiting = [package["id"] for package in resolved["packages"] if package["name"] in ROOTS]
    found = {}
    while waiting:
        one = waiting.pop()
        if one not in found:
            used = [d["pkg"] for d in nodes[one]["deps"] if any(kind["kind"] is None for kind in d["dep_kinds"])]
            found[one] = used
            waiting.extend(used)
    return found


def component(package):
    """A package, as CycloneDX describes it."""
    name, version = package["name"], package["version"]
    said = {"type": "library", "bom-ref": f"{name}@{version}", "name": name, "version": version}
    if package.get("license"):
        said["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if package["source"]:
        said["purl"] = f"pkg:cargo/{name}@{version}"
    return said


def bill():
    """The document. The same sources give the same bytes."""
    words = ["metadata", "--format-version=1", "--locked", f"--filter-platform={crate.host()}"]
    resolved = json.loads(crate.cargo(*words))
    packages = {package["id"]: package for package in resolved["packages"]}
    used = dependencies(resolved)

    def ref(one):
        return f"{packages[one]['name']}@{packages[one]['version']}"

    about = component(next(package for package in packages.values() if package["name"] == "rcorn"))
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {**about, "type": "application", "purl": f"pkg:pypi/rcorn@{about['version']}"}},
        "components": [component(packages[one]) for one in sorted(used, key=ref) if packages[one]["name"] != "rcorn"],
        "dependencies": [{"ref": ref(one), "dependsOn": sorted(map(ref, used[one]))} for one in sorted(used, key=ref)],
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"
