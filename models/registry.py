"""Which model serves: a directory of immutable models and a pointer that names one of them.

``DIRECTORY/current`` holds one name; ``DIRECTORY/bundles/NAME/`` is that model. Promotion replaces
the pointer in one step; every process looks at it now and then and maps the new model by itself.
``DIRECTORY/shadow``, if there is one, names a model that is only watched: it scores beside the
serving one and decides nothing.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Final

from models.arrays import ArrayFileError, open_regular
from models.bundle import Bundle, BundleError

_POINTER: Final = "current"
_SHADOW: Final = "shadow"
_BUNDLES: Final = "bundles"
_NAME: Final = re.compile(r"(?:baseline|site)-[0-9a-f]{12}")
_MAX_POINTER_BYTES: Final = 200
_SHIPPED: Final = "baseline-"
_UNFINISHED: Final = ".new-"
_ABANDONED_AFTER_S: Final = 3600.0


class Registry:
    """The models of one state directory, and the one that serves now.

    With ``public_key`` (Ed25519, 32 bytes) a model of the site must carry its owner's signature.

    Not for several threads at once; each process has its own.
    """

    def __init__(self, directory: Path, *, public_key: bytes | None = None) -> None:
        self.directory = directory
        self.problem: BundleError | None = None
        """Why the last `refresh` kept the old model, for ``doctor``; None if all is well."""
        self._public_key = public_key
        self._seen: tuple[int, int, int] | None = None
        self._bundle: Bundle | None = None
        self.shadow_problem: BundleError | None = None
        """Why there is no shadow though one is named; None if all is well."""
        self._shadow_seen: tuple[int, int, int] | None = None
        self._shadow: Bundle | None = None

    def current(self) -> Bundle:
        """Return the model that serves. Raises BundleError if there is none that can."""
        if self._bundle is None:
            self.refresh()
        if self._bundle is None:
            raise self.problem or BundleError("no model was promoted yet")
        return self._bundle

    def shadow(self) -> Bundle | None:
        """Return the model that scores beside the serving one, as of the last `refresh`.

        None if there is none, if it can't be used (`shadow_problem` says why), or if it is the one
        that serves.
        """
        if self._shadow is None or self._bundle is None:
            return None
        return None if self._shadow.digest == self._bundle.digest else self._shadow

    def refresh(self) -> bool:
        """Look at the pointers; map the models they name if they changed.

        Say whether another model serves now. A model that can't be used changes nothing: the old
        one goes on serving, and `problem` says why. A pointer is read again only after it was
        replaced.
        """
        self._refresh_shadow()
        seen = self._state(_POINTER)
        if seen is None:
            self.problem = BundleError("no model was promoted yet")
            return False
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

    def _refresh_shadow(self) -> None:
        seen = self._state(_SHADOW)
        if seen == self._shadow_seen:
            return
        self._shadow_seen, self._shadow, self.shadow_problem = seen, None, None
        if seen is None:
            return
        try:
            self._shadow = self.load(self._named(_SHADOW))
        except BundleError as error:
            self.shadow_problem = error

    def _state(self, pointer: str) -> tuple[int, int, int] | None:
        try:
            state = (self.directory / pointer).stat()
        except OSError:
            return None
        return (state.st_mtime_ns, state.st_ino, state.st_size)

    def pointed(self) -> str:
        """Return the name in the pointer. Raises BundleError if it can't be one."""
        return self._named(_POINTER)

    def shadowed(self) -> str:
        """Return the name of the shadow, empty for none. Raises BundleError if it is no name."""
        return "" if self._state(_SHADOW) is None else self._named(_SHADOW)

    def _named(self, pointer: str) -> str:
        try:
            with open_regular(self.directory / pointer) as file:
                name = file.read(_MAX_POINTER_BYTES).decode("ascii", "replace").strip()
        except ArrayFileError as error:
            raise BundleError(f"the pointer to the {pointer} model: {error}") from error
        return _checked(name)

    def load(self, name: str) -> Bundle:
        """Map a model by name. Raises BundleError."""
        # The shipped model cannot have this site's signature; it may give 3 points at most.
        key = None if name.startswith(_SHIPPED) else self._public_key
        bundle = Bundle.load(self.directory / _BUNDLES / _checked(name), public_key=key)
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
        """Write a model beside the others, whole or not at all; return its name.

        One of that name that is damaged is replaced.
        """
        name = _checked(bundle.model_id)
        target = self.directory / _BUNDLES / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            try:
                self.load(name)
            except BundleError:
                shutil.rmtree(target)
            else:
                return name
        _remove_abandoned(target.parent)
        building = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent))
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
        self._point(_POINTER, name)

    def set_shadow(self, name: str | None) -> None:
        """Let a model score beside the current one, or none. Raises BundleError."""
        if name is not None:
            self._point(_SHADOW, name)
            return
        (self.directory / _SHADOW).unlink(missing_ok=True)
        _sync_directory(self.directory)

    def _point(self, pointer: str, name: str) -> None:
        self.load(name)
        handle, temporary = tempfile.mkstemp(prefix=f".{pointer}-", dir=self.directory)
        try:
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(name + "\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(self.directory / pointer)
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


def mend_shipped(directory: Path, name: str) -> None:
    """Write the shipped model anew if it is the one of that name and can't be used.

    Raises BundleError if the shipped model is damaged itself, OSError if it can't be written.
    """
    registry = Registry(directory)
    try:
        registry.load(name)
    except BundleError:
        if name.startswith(_SHIPPED) and name in registry.names():
            shipped = Bundle.load(baseline_directory())
            if shipped.model_id == name:
                registry.install(shipped)


def _remove_abandoned(bundles: Path) -> None:
    """Take away what a process left that was killed while it wrote a model: 40 MB each."""
    for left in bundles.glob(f"{_UNFINISHED}*"):
        try:
            age_s = time.time() - left.stat().st_mtime
        except OSError:
            continue  # its owner was faster
        if age_s > _ABANDONED_AFTER_S:
            shutil.rmtree(left, ignore_errors=True)


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
