"""Wraps functions of the shipped code from outside, as soon as their module is imported."""

import importlib.abc
import importlib.machinery
import sys


def role() -> str:
    """Who this process is; the supervisor and the commands have no ``--role``."""
    if "--role" in sys.argv:
        return {"smtp": "worker"}.get(name := sys.argv[sys.argv.index("--role") + 1], name)
    return "supervisor" if "serve" in sys.argv else "cli"


def attach(*attachments) -> None:
    """Call, for each named module, every function given for it right after the import."""
    sys.meta_path.insert(0, _Finder(attachments))


class _Loader(importlib.abc.Loader):
    def __init__(self, inner, attachments) -> None:
        self.inner = inner
        self.attachments = attachments

    def create_module(self, spec):
        return self.inner.create_module(spec)

    def exec_module(self, module) -> None:
        self.inner.exec_module(module)
        for attachment in self.attachments:
            attachment(module)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, attachments) -> None:
        self.attachments = attachments

    def find_spec(self, fullname, path, target=None):
        wanted = [named[fullname] for named in self.attachments if fullname in named]
        if not wanted:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        spec.loader = _Loader(spec.loader, wanted)
        return spec
