"""Turns protos/ into the packages libs/erp and libs/buf: `python protos/generate.py`.

Nothing generated is committed. protovalidate ships no .proto file, so the descriptor of
buf/validate/validate.proto is taken from the installed package and handed to protoc, which then
needs no registry and no network.
"""

import sys
import tempfile
from pathlib import Path

import google.protobuf
import grpc_tools
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from grpc_tools import protoc

ROOT = Path(__file__).parent
LIBS = ROOT.parent / "libs"
WELL_KNOWN = Path(grpc_tools.__file__).parent / "_proto"
GOOGLE_APIS = Path(google.protobuf.__file__).parents[2]
VALIDATE = "buf/validate/validate.proto"
PACKAGES = ("erp", "buf")


def main() -> None:
    """Generate everything, or with `--image FILE` only the image that `buf lint` reads."""
    with tempfile.TemporaryDirectory() as scratch:
        validate = Path(scratch) / "validate.binpb"
        validate.write_bytes(validate_descriptors(Path(scratch)).SerializeToString())
        if sys.argv[1:2] == ["--image"]:
            write_image(validate, Path(sys.argv[2]))
        else:
            generate(validate)


def validate_descriptors(scratch: Path) -> FileDescriptorSet:
    """The descriptors of validate.proto and of all it imports."""
    from protovalidate._gen.buf.validate import validate_pb

    own = FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())
    imports = scratch / "imports.binpb"
    run_protoc(
        f"--proto_path={WELL_KNOWN}",
        "--include_imports",
        f"--descriptor_set_out={imports}",
        *own.dependency,
    )
    descriptors = FileDescriptorSet.FromString(imports.read_bytes())
    descriptors.file.append(own)
    return descriptors


def generate(validate: Path) -> None:
    """Write libs/erp and libs/buf anew."""
    with tempfile.TemporaryDirectory(dir=LIBS) as scratch:
        fresh = Path(scratch)
        outputs = [f"--python_out={fresh}", f"--pyi_out={fresh}"]
        run_protoc(f"--descriptor_set_in={validate}", *outputs, VALIDATE)
        run_protoc(*sources(validate), *outputs, f"--grpc_python_out={fresh}", *own_protos())
        # Generated classes have lost the comments that the OpenAPI document is made from.
        write_image(validate, fresh / "erp" / "descriptors.binpb")
        for package in PACKAGES:
            replace(fresh / package, LIBS / package)


def replace(fresh: Path, old: Path) -> None:
    """Put a generated package where the old one is, in no time for those who import it."""
    for folder in (fresh, *(path for path in fresh.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()
    if old.exists():
        old.rename(fresh.with_name(f"old-{old.name}"))
    fresh.rename(old)


def write_image(validate: Path, image: Path) -> None:
    """Write the image of our protos, with comments: for `buf` and the OpenAPI document."""
    run_protoc(
        *sources(validate),
        "--include_imports",
        "--include_source_info",
        f"--descriptor_set_out={image}",
        *own_protos(),
    )


def sources(validate: Path) -> list[str]:
    """Where protoc finds our files and those that they import."""
    imports = validate.with_name("all.binpb")
    google = ["google/api/annotations.proto", "google/api/http.proto", "google/rpc/status.proto"]
    run_protoc(
        f"--proto_path={GOOGLE_APIS}",
        f"--proto_path={WELL_KNOWN}",
        "--include_imports",
        f"--descriptor_set_out={imports}",
        *google,
    )
    merged = FileDescriptorSet.FromString(imports.read_bytes())
    known = {file.name for file in merged.file}
    merged.file.extend(
        file
        for file in FileDescriptorSet.FromString(validate.read_bytes()).file
        if file.name not in known
    )
    imports.write_bytes(merged.SerializeToString())
    return [f"--descriptor_set_in={imports}", f"--proto_path={ROOT}"]


def own_protos() -> list[str]:
    """Our files, as paths below protos/."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.proto"))


def run_protoc(*arguments: str) -> None:
    """Run protoc, or stop with what it said on standard error."""
    if protoc.main(["protoc", *arguments]) != 0:
        sys.exit("protoc failed: see above")


if __name__ == "__main__":
    main()
