"""`python -m pyros.web`: the page's process, which from its first moment on does not outlive the daemon."""

from __future__ import annotations

import os
import sys

from pyros.orphans import PARENT, die_with_parent


def main() -> int:
    """Serve the page; return the exit status."""
    die_with_parent()
    if os.environ.get(PARENT, str(os.getppid())) != str(os.getppid()):  # it has died before we could say so
        return 1
    from pyros.web.serving import main as serve  # after the above: this takes a second, in which it might die

    return serve()


if __name__ == "__main__":
    sys.exit(main())
