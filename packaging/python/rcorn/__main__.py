"""`python -m rcorn`: the executable that pip has installed with this package, for this Python."""

import os
import shlex
import sys
import sysconfig


def executable():
    """Where pip has put it: as for all packages, for this user only, or beside this folder (pip install --target)."""
    package = os.path.dirname(os.path.abspath(__file__))
    places = [sysconfig.get_path("scripts")]
    user = sysconfig.get_preferred_scheme("user") if sys.version_info >= (3, 10) else "posix_user"
    places.append(sysconfig.get_path("scripts", user))
    places.append(os.path.join(os.path.dirname(package), "bin"))
    for place in places:
        path = os.path.join(place, "rcorn")
        if os.access(path, os.X_OK):
            return path
    raise SystemExit(f"rcorn: error: no executable in {', '.join(places)}; hint: pip install --force-reinstall rcorn")


if __name__ == "__main__":
    # Less than what the command line says, and more than what else finds a Python.
    words = ["--python", sys.executable, *shlex.split(os.environ.get("RCORN_CMD_ARGS", ""))]
    os.environ["RCORN_CMD_ARGS"] = shlex.join(words)
    path = executable()
    os.execv(path, [path, *sys.argv[1:]])
