"""``python -m gateway`` is ``schwamm``."""

from gateway.cli import main

main()
