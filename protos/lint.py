"""Runs `buf lint` over our protos, on a built image, so that it needs no registry."""

import subprocess
import sys
import tempfile
from pathlib import Path

from generate import ROOT, own_protos


def main() -> int:
    """Lint, and return the exit code of `buf`."""
    buf = Path(sys.executable).with_name("buf")
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch) / "image.binpb"
        subprocess.run([sys.executable, ROOT / "generate.py", "--image", image], check=True)
        paths = [argument for proto in own_protos() for argument in ("--path", proto)]
        command = [buf, "lint", image, "--config", ROOT / "buf.yaml", *paths]
        return subprocess.run(command, check=False, cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
