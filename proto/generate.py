"""Generate the protobuf and gRPC code beside its sources; with ``--check``, only say whether it is fresh."""

from __future__ import annotations

import filecmp
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

HERE = Path(__file__).resolve().parent
PACKAGE = Path("felloe/v1")


def generate(out: Path) -> list[Path]:
    """Write the generated modules below `out` and return their paths relative to it."""
    sources = sorted((HERE / PACKAGE).glob("*.proto"))
    well_known = str(files("grpc_tools") / "_proto")
    arguments = ["protoc", f"-I{HERE}", f"-I{well_known}"]
    arguments += [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    if protoc.main([*arguments, *map(str, sources)]) != 0:
        raise SystemExit("protoc failed")
    services = {source.stem for source in sources if "\nservice " in source.read_text()}
    made = []
    for path in sorted(out.glob(str(PACKAGE / "*_pb2*"))):
        if path.stem.endswith("_grpc") and path.stem.removesuffix("_pb2_grpc") not in services:
            path.unlink()
            continue
        made.append(path.relative_to(out))
    return made


def main() -> None:
    """Regenerate in place, or compare."""
    if "--check" not in sys.argv[1:]:
        generate(HERE)
        return
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
        stale = [
            str(path)
            for path in made
            if not (HERE / path).exists() or not filecmp.cmp(HERE / path, Path(folder) / path, shallow=False)
        ]
    if stale:
        raise SystemExit(f"generated code is stale: {', '.join(stale)}; run: make proto")


if __name__ == "__main__":
    main()
