"""Which model serves: a directory of immutable models and a pointer that names one of them.

``DIRECTORY/current`` holds one name; ``DIRECTORY/bundles/NAME/`` is that model. Promotion replaces
the pointer in one step; every process looks at it now and then and maps the new model by itself.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from importlib import resources
from pathlib import Path
from typing import Final

from models.arrays import ArrayFileError, open_regular
from models.bundle import Bundle, BundleError

_POINTER: Final = "current"
_BUNDLES: Final = "bundles"
_NAME: Final = re.compile(r"(?:baseline|site)-[0-9a-f]{12}")
_MAX_POINTER_BYTES: Final = 200


class Registry:
    """The models of one state directory, and the one that serves now.

    Not for several threads at once; each process has its own.
    """

    def __init__(self, directory: Path, *, public_key: bytes | None = None) -> None:
        self.directory = directory
        self.problem: BundleError | None = None
        """Why the last `refresh` kept the old model, for ``doctor``; None if all is well."""
        self._public_key = public_key
        self._seen: tuple[int, int, int] | None = None
        self._bundle: Bundle | None = None

    def current(self) -> Bundle:
        """Return the model that serves. Raises BundleError if there is none that can."""
        if self._bundle is None:
            self.refresh()
        if self._bundle is None:
            raise self.problem or BundleError("no model was promoted yet")
        return self._bundle

    def refresh(self) -> bool:
        """Look at the pointer; map the model it names if it changed. Say whether it did.

        A model that can't be used changes nothing: the old one goes on serving, and `problem` says
        why. The pointer is read again only after it was replaced.
        """
        try:
            state = (self.directory / _POINTER).stat()
        except OSError:
            self.problem = BundleError("no model was promoted yet")
            return False
        seen = (state.st_mtime_ns, state.st_ino, state.st_size)
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            bundle = self.load(self.pointed())
        except BundleError as error:
            self.problem = error
            return False
        self.problem = None
        changed = self._bundle is None or bundle.digest != self._bundle.digest
        self._bundle = bundle
        return changed

    def pointed(self) -> str:
        """Return the name in the pointer. Raises BundleError if it can't be one."""
        try:
            with open_regular(self.directory / _POINTER) as file:
                name = file.read(_MAX_POINTER_BYTES).decode("ascii", "replace").strip()
        except ArrayFileError as error:
            raise BundleError(f"the pointer to the current model: {error}") from error
        return _checked(name)

    def load(self, name: str) -> Bundle:
        """Map a model by name. Raises BundleError."""
        bundle = Bundle.load(
            self.directory / _BUNDLES / _checked(name), public_key=self._public_key
        )
        if bundle.model_id != name:
            raise BundleError(f"{name}: holds {bundle.model_id}: somebody moved it")
        return bundle

    def names(self) -> tuple[str, ...]:
        """Return the names of all models present, sorted."""
        try:
            found = [entry.name for entry in (self.directory / _BUNDLES).iterdir()]
        except OSError:
            return ()
        return tuple(sorted(name for name in found if _NAME.fullmatch(name)))

    def install(self, bundle: Bundle) -> str:
        """Write a model beside the others, whole or not at all; return its name."""
        name = _checked(bundle.model_id)
        target = self.directory / _BUNDLES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            return name
        building = Path(tempfile.mkdtemp(prefix=".new-", dir=target.parent))
        try:
            bundle.save(building / name)
            _sync_directory(building / name)
            try:
                (building / name).rename(target)
            except OSError:
                # Another process was faster; the name stands for the content, so all is well.
                if not target.is_dir():
                    raise
            _sync_directory(target.parent)
        finally:
            shutil.rmtree(building, ignore_errors=True)
        return name

    def promote(self, name: str) -> None:
        """Make a model the current one, durably and in one step. Raises BundleError."""
        self.load(name)
        handle, temporary = tempfile.mkstemp(prefix=".current-", dir=self.directory)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(name + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(self.directory / _POINTER)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_directory(self.directory)


def baseline_directory() -> Path:
    """Return where the shipped model lies. Raises BundleError if it was not installed."""
    place = resources.files("models") / "baseline"
    if not isinstance(place, Path) or not place.is_dir():
        raise BundleError("the shipped model is missing from this installation")
    return place


def expand_baseline(directory: Path) -> Path:
    """Make the shipped model usable in a state directory; return the model's own directory.

    It becomes the current one if there is none yet. Doing it again harms nothing. Raises
    BundleError if the shipped model is damaged.
    """
    directory.mkdir(parents=True, exist_ok=True)
    registry = Registry(directory)
    name = registry.install(Bundle.load(baseline_directory()))
    if not (directory / _POINTER).exists():
        registry.promote(name)
    return directory / _BUNDLES / name


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise BundleError(f"{name[:60]!r} is no name of a model")
    return name


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
