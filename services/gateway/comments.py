"""What the protos say about themselves in their comments, by full name."""

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

# Written by protos/generate.py, since generated classes carry no comments.
_IMAGE = "descriptors.binpb"


@cache
def comments() -> dict[str, str]:
    """The comments by full name, as "erp.sales.v1.Order.state"; none without the image."""
    image = resources.files("erp") / _IMAGE
    if not image.is_file():
        return {}
    files = FileDescriptorSet.FromString(image.read_bytes()).file
    return {name: text for file in files for name, text in _of_file(file)}


def _of_file(file: FileDescriptorProto) -> Iterator[tuple[str, str]]:
    for location in file.source_code_info.location:
        text = location.leading_comments.strip()
        name = _name(file, location.path)
        if text and name:
            yield name, "\n".join(line.strip() for line in text.splitlines())


def _name(file: FileDescriptorProto, path: Sequence[int]) -> str | None:
    """The full name of what a path of field numbers and indices leads to, if that has one."""
    names = [file.package]
    here: Any = file
    for number, index in zip(path[::2], path[1::2], strict=False):
        field = here.DESCRIPTOR.fields_by_number.get(number)
        if field is None or not field.is_repeated or field.message_type is None:
            return None
        here = getattr(here, field.name)[index]
        if not hasattr(here, "name") or len(path) % 2:
            return None
        names.append(here.name)
    return ".".join(names) if len(names) > 1 else None
