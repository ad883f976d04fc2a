"""Builds a Dockerfile's stages without Docker: the same commands, in directories instead of layers.

Absolute paths of the image lie below a directory of the test. What comes with the base image, its
Python above all, is this machine's.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One line of a Dockerfile, continued lines joined."""

    name: str
    arguments: str


class Stage(NamedTuple):
    """What happens from one FROM to the next."""

    name: str
    base: str
    instructions: list[Instruction]


def stages_of(path: Path) -> list[Stage]:
    """The stages of a Dockerfile."""
    stages: list[Stage] = []
    for instruction in _instructions(path.read_text()):
        if instruction.name == "FROM":
            base, _, name = instruction.arguments.partition(" AS ")
            stages.append(Stage(name, base, []))
        elif stages:
            stages[-1].instructions.append(instruction)
    return stages


def _instructions(text: str) -> Iterator[Instruction]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, arguments = line.strip().partition(" ")
            yield Instruction(name, arguments.strip())


class Image:
    """The file system of a stage, and its environment.

    Args:
        root: where its absolute paths lie.
        context: what `docker build` would be given.
        others: the stages before it, by name.
        arguments: of the build.
    """

    def __init__(
        self, root: Path, context: Path, others: Mapping[str, "Image"], arguments: Mapping[str, str]
    ) -> None:
        self.root = root
        self.environment: dict[str, str] = {}
        self.settings: dict[str, str] = {}
        self._context = context
        self._others = others
        self._arguments = dict(arguments)
        self._directory = root

    def follow(self, stage: Stage) -> None:
        """Do what the stage says."""
        if stage.base in self._others:
            before = self._others[stage.base]
            shutil.copytree(before.root, self.root, symlinks=True, dirs_exist_ok=True)
            self.environment = dict(before.environment)
            self._directory = self.root / before._directory.relative_to(before.root)
        for instruction in stage.instructions:
            getattr(self, f"_{instruction.name.lower()}")(instruction.arguments)

    def run(self, command: Sequence[str], **environment: str) -> "subprocess.Popen[bytes]":
        """Start a command as in a container of this image."""
        return subprocess.Popen(
            command, cwd=self._directory, env={**self._variables(), **environment}
        )

    def _variables(self) -> dict[str, str]:
        own = {name: self._inside(value) for name, value in self.environment.items()}
        path = own.get("PATH", "$PATH").replace("$PATH", os.environ["PATH"])
        # The base image's python.
        path = path + os.pathsep + str(Path(sys.executable).resolve().parent)
        outside = {name: os.environ[name] for name in _OF_THE_NETWORK if name in os.environ}
        return {**outside, "HOME": os.environ.get("HOME", "/"), **own, "PATH": path}

    def _inside(self, text: str) -> str:
        return re.sub(r"(?<![\w.$}/])/(?=(app|src|tools|protos)\b)", f"{self.root}/", text)

    def _arg(self, text: str) -> None:
        name, equals, default = text.partition("=")
        if equals:
            self._arguments.setdefault(name, default)

    def _env(self, text: str) -> None:
        self.environment |= dict(pair.split("=", 1) for pair in shlex.split(text))

    def _workdir(self, text: str) -> None:
        self._directory = self.root / text.strip("/")
        self._directory.mkdir(parents=True, exist_ok=True)

    def _run(self, text: str) -> None:
        done = subprocess.run(
            ["sh", "-euc", self._inside(text)],
            cwd=self._directory,
            env={**self._variables(), **self._arguments},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"

    def _copy(self, text: str) -> None:
        words = self._expanded(text).split()
        source = self._context
        if words[0].startswith("--from="):
            source = self._others[words.pop(0).removeprefix("--from=")].root
        *names, target = words
        for name in names:
            place = self._place(target, name, len(names))
            found = source / name.strip("/")
            if found.is_dir():
                shutil.copytree(found, place, symlinks=True, dirs_exist_ok=True, ignore=_unsent)
            else:
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(found, place)

    def _place(self, target: str, name: str, count: int) -> Path:
        start = self.root if target.startswith("/") else self._directory
        place = start / target.strip("/")
        if count > 1 or target.endswith("/"):
            place /= Path(name).name
        return place

    def _expanded(self, text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: self._arguments[found[1]], text)

    def _keep(self, name: str, text: str) -> None:
        self.settings[name] = self._expanded(text)

    def __getattr__(self, name: str) -> object:
        if name in _ONLY_KEPT:
            return lambda text: self._keep(name.strip("_").upper(), text)
        raise AttributeError(name)


_ONLY_KEPT = ("_label", "_user", "_stopsignal", "_healthcheck", "_entrypoint", "_cmd")
# How this machine reaches its package index.
_OF_THE_NETWORK = (
    *("PIP_INDEX_URL", "PIP_CONFIG_FILE", "UV_INDEX_URL", "UV_DEFAULT_INDEX", "UV_CACHE_DIR"),
    *("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"),
)


def _unsent(folder: str, names: list[str]) -> list[str]:
    """What .dockerignore keeps from being sent, of what lies in the folders that are sent."""
    return [name for name in names if name == "__pycache__" or fnmatch(name, ".*")]
