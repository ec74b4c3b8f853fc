"""What is installed is what the projects allow, and the check of that sees what is missing, wrong, or not stated."""

from __future__ import annotations

import tomllib
from email.message import Message

from stack.dependencies import PROJECTS, Package, allowed, installed, licence_of, problems


def package(name: str, version: str, *requires: str) -> dict[str, Package]:
    return {name: Package(name, version, "MIT", requires)}


def test_what_is_installed_here_is_what_is_allowed() -> None:
    wanted = [item for path in PROJECTS for item in allowed(tomllib.loads(path.read_text()))]
    assert len(wanted) > 50
    assert problems(installed(), wanted) == []


def test_what_is_missing_or_of_another_version_is_told() -> None:
    there = package("a", "1.5", "b>=2", "c>=9; python_version < '3'", "d; extra == 'more'") | package("b", "1.0")
    assert problems(there, [("a>=2,<3", True), ("e", True), ("f", False), ("b<1", False)]) == [
        "pyproject.toml allows a<3,>=2, installed is 1.5",
        "pyproject.toml needs e, which is not installed",
        "pyproject.toml allows b<1, installed is 1.0",
        "a allows b>=2, installed is 1.0",
    ]
    assert problems(there, [], alone=("a==1.5",)) == []


def test_extras_that_setup_does_not_install_need_not_be_there() -> None:
    project = {"dependencies": ["a"], "optional-dependencies": {"dev": ["b"], "bench": ["c"]}}
    assert list(allowed({"project": project})) == [("a", True), ("b", True), ("c", False)]


def test_licences_are_told_in_their_own_words() -> None:
    about = Message()
    assert licence_of(about) == "not stated"
    about["License"] = "MIT License\nCopyright"
    assert licence_of(about) == "MIT License"
    about["Classifier"] = "License :: OSI Approved :: BSD License"
    assert licence_of(about) == "BSD License"
    about["License-Expression"] = "Apache-2.0"
    assert licence_of(about) == "Apache-2.0"
