"""The model a process serves with: the promoted one, else the shipped one, never silently."""

import structlog

from models.bundle import Bundle, BundleError
from models.registry import Registry, baseline_directory

_log = structlog.get_logger()


class ServingModels:
    """Follows the registry; where its model cannot be used, the shipped baseline stands in."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._told = ""
        self._shipped: Bundle | None = None

    def current(self) -> Bundle:
        """The model that serves.

        Raises:
            BundleError: neither the promoted model nor the shipped one can be used.
        """
        try:
            return self._registry.current()
        except BundleError:
            if self._shipped is None:
                self._shipped = Bundle.load(baseline_directory())
            return self._shipped

    def shadow(self) -> Bundle | None:
        """The model that is only watched, if there is one."""
        return self._registry.shadow()

    def refresh(self) -> None:
        """Look for a newly promoted model; say once what changed or what is wrong."""
        changed = self._registry.refresh()
        problem = str(self._registry.problem or "")
        if problem and problem != self._told:
            _log.error("model cannot be used", reason=problem, serving=self._name())
        elif changed:
            _log.info("serving a new model", model=self._name())
        self._told = problem

    def _name(self) -> str:
        try:
            return self.current().model_id
        except BundleError as error:
            return f"none: {error}"
