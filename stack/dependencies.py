"""What is installed: whether it is what pyproject.toml allows, under which licences, and a bill of materials.

`python -m stack.dependencies --sbom run/sbom.json` prints the list and exits 1 when something is missing or of another
version than allowed. It knows nothing of weaknesses that others found: that takes an advisory service (SECURITY.md).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from stack.install import WITHOUT_DEPENDENCIES
from stack.options import CHECKOUT

PROJECTS: Final = (CHECKOUT / "pyproject.toml", CHECKOUT / "clients" / "pyproject.toml")
ALWAYS: Final = ("stack", "dev")  # the extras that `make setup` installs; of others what is there is checked
TOOL: Final = "cyclonedx-bom>=7,<8"  # kept by the CycloneDX project; in an environment of its own, not in the list
TOOL_FOLDER: Final = CHECKOUT / "run" / "audit"


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution."""

    name: str
    version: str
    licence: str
    requires: tuple[str, ...] = ()


def installed() -> dict[str, Package]:
    """What this interpreter has, by canonical names."""
    found = {}
    for item in metadata.distributions():
        name = item.metadata["Name"]
        found[canonicalize_name(name)] = Package(
            name, item.version, licence_of(item.metadata), tuple(item.requires or ())
        )
    return dict(sorted(found.items()))


def licence_of(about: Any) -> str:
    """What a distribution says of its licence, in its own words; "not stated" when it does not."""
    stated = about.get("License-Expression")
    classifiers = [text for text in about.get_all("Classifier") or () if text.startswith("License ::")]
    words = "; ".join(text.rpartition(" :: ")[2] for text in classifiers)
    first = (about.get("License") or "").strip().partition("\n")[0]
    return str(stated or words or first or "not stated")


def allowed(table: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """The requirements of a project file, and whether each must be there."""
    project = table["project"]
    yield from ((text, True) for text in project.get("dependencies", ()))
    for extra, texts in project.get("optional-dependencies", {}).items():
        yield from ((text, extra in ALWAYS) for text in texts)


def problems(
    packages: dict[str, Package],
    wanted: Iterable[tuple[str, bool]],
    *,
    alone: Iterable[str] = WITHOUT_DEPENDENCIES,
) -> list[str]:
    """What is missing or of another version than is allowed; what stands in `alone` needs nothing."""
    excepted = {canonicalize_name(Requirement(text).name) for text in alone}
    found = [_problem(packages, "pyproject.toml", text, must) for text, must in wanted]
    for name, package in packages.items():
        if name not in excepted:
            found += [_problem(packages, package.name, text, must=True) for text in package.requires]
    return [text for text in found if text]


def _problem(packages: dict[str, Package], who: str, text: str, must: bool) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"{who} says {text!r}, which is no requirement"
    if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
        return ""
    there = packages.get(canonicalize_name(requirement.name))
    if there is None:
        return f"{who} needs {requirement.name}, which is not installed" if must else ""
    if requirement.specifier.contains(there.version, prereleases=True):
        return ""
    return f"{who} allows {requirement}, installed is {there.version}"


def write_sbom(path: Path) -> None:
    """Writes a CycloneDX bill of materials of this environment, checked against its schema; installs the tool first."""
    python = TOOL_FOLDER / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(TOOL_FOLDER)], check=True)
    install = ("-m", "pip", "install", "-qq", "--disable-pip-version-check", TOOL)
    subprocess.run([str(python), *install], check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ("--output-format", "JSON", "--output-reproducible", "--output-file", str(path))
    project = ("--pyproject", str(PROJECTS[0]))
    subprocess.run(
        [str(TOOL_FOLDER / "bin" / "cyclonedx-py"), "environment", *options, *project, sys.executable], check=True
    )


def main() -> int:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog="python -m stack.dependencies")
    parser.add_argument("--sbom", type=Path, help="write a CycloneDX bill of materials there")
    options = parser.parse_args()
    packages = installed()
    for package in packages.values():
        print(f"{package.name:32} {package.version:16} {package.licence}")
    wanted = [item for path in PROJECTS for item in allowed(tomllib.loads(path.read_text()))]
    found = problems(packages, wanted)
    for text in found:
        print(f"problem: {text}")
    print(f"{len(packages)} packages, {len(found)} problems; advisories were not asked for")
    if options.sbom:
        write_sbom(options.sbom)
        print(f"bill of materials: {options.sbom}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
