"""Generates everything made from the .proto files: `python protos/generate.py [--check | --release]`.

Writes the Python stubs into clients/billow/ and the descriptor set for Envoy into envoy/billow.binpb.
--check writes nothing, lints the contract with buf, looks for breaking changes against the last released one
(protos/released.binpb), and exits 1 when anything differs or breaks. --release makes the present contract the
released one.
"""

from __future__ import annotations

import filecmp
import importlib.metadata
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
STUBS = ROOT / "clients" / "billow"
DESCRIPTORS = ROOT / "envoy" / "billow.binpb"
RELEASED = PROTOS / "released.binpb"
BIN = Path(sys.executable).parent


def googleapis_include() -> Path:
    """Returns the folder whose google/api and google/rpc hold the .proto files of googleapis-common-protos."""
    annotations = importlib.metadata.distribution("googleapis-common-protos").locate_file(
        "google/api/annotations.proto"
    )
    return Path(str(annotations)).parent.parent.parent


def sources() -> list[str]:
    """Returns our .proto files, relative to protos/, in a stable order."""
    return sorted(str(path.relative_to(PROTOS)) for path in PROTOS.glob("billow/**/*.proto"))


def protoc(*arguments: str) -> None:
    """Runs the protoc of grpcio-tools on all our files; exits with its message when it fails."""
    import grpc_tools

    well_known = Path(grpc_tools.__path__[0]) / "_proto"
    includes = [f"-I{PROTOS}", f"-I{googleapis_include()}", f"-I{well_known}"]
    plugins = [f"--plugin={name}={BIN / name}" for name in ("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    command = [sys.executable, "-m", "grpc_tools.protoc", *includes, *plugins, *arguments, *sources()]
    if subprocess.run(command, cwd=PROTOS).returncode:
        sys.exit(1)


def generate(stubs: Path, descriptors: Path) -> None:
    """Writes all generated files below the two targets; `stubs` is the folder that stands for clients/billow."""
    with tempfile.TemporaryDirectory() as scratch:
        protoc(
            f"--python_out={scratch}",
            f"--grpc_python_out={scratch}",
            f"--mypy_out=quiet:{scratch}",
            f"--mypy_grpc_out=quiet:{scratch}",
        )
        made = Path(scratch) / "billow"
        for area in sorted(path for path in made.iterdir() if path.is_dir()):
            for package in (area, area / "v1"):
                (package / "__init__.py").write_text('"""Generated from protos/ by protos/generate.py."""\n')
            replace_changed(area, stubs / area.name)
    # Envoy writes error details as JSON, so it must know their messages
    protoc("--include_imports", f"--descriptor_set_out={descriptors}", "google/rpc/error_details.proto")


def replace_changed(made: Path, kept: Path) -> None:
    """Brings a folder of generated files up to date; files that stay the same are not touched."""
    wanted = {path.relative_to(made): path.read_bytes() for path in made.rglob("*") if path.is_file()}
    for path in kept.rglob("*.py*"):
        if path.suffix in (".py", ".pyi") and path.relative_to(kept) not in wanted:
            path.unlink()
    for name, content in wanted.items():
        target = kept / name
        if not target.exists() or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)


def differences(left: Path, right: Path) -> list[str]:
    """Names the generated files that differ between two folders of stubs."""
    areas = sorted(path.name for path in right.iterdir() if path.is_dir())
    found: list[str] = []
    for area in areas:
        names = {
            str(path.relative_to(base / area))
            for base in (left, right)
            for path in (base / area).rglob("*.py*")
            if "__pycache__" not in path.parts
        }
        _, mismatch, missing = filecmp.cmpfiles(left / area, right / area, sorted(names), shallow=False)
        found += [f"clients/billow/{area}/{name}" for name in mismatch + missing]
    return found


def check() -> int:
    """Lints the contract, looks for breaking changes, and compares the generated files; returns the exit status."""
    failed = 0
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        protoc("--include_imports", "--include_source_info", f"--descriptor_set_out={image}")
        config = ["--config", str(PROTOS / "buf.yaml")]
        failed |= subprocess.run([BIN / "buf", "lint", str(image), *config]).returncode
        against = ["--against", str(RELEASED)]
        failed |= subprocess.run([BIN / "buf", "breaking", str(image), *against, *config]).returncode
        stubs = Path(scratch) / "stubs"
        stubs.mkdir()
        descriptors = Path(scratch) / DESCRIPTORS.name
        generate(stubs, descriptors)
        stale = differences(STUBS, stubs)
        if descriptors.read_bytes() != DESCRIPTORS.read_bytes():
            stale.append("envoy/billow.binpb")
        for name in stale:
            print(f"{name} is not what the .proto files say: run `make proto`")
    return 1 if failed or stale else 0


def main() -> int:
    """Runs the command line."""
    match sys.argv[1:]:
        case []:
            generate(STUBS, DESCRIPTORS)
        case ["--check"]:
            return check()
        case ["--release"]:
            protoc("--include_imports", f"--descriptor_set_out={RELEASED}")
        case _:
            sys.exit(__doc__)
    return 0


if __name__ == "__main__":
    sys.exit(main())
