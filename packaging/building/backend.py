"""What pip calls (PEP 517)."""

import os

from . import wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    given = (config_settings or {}).get("executable")
    return os.path.basename(wheel.build_wheel(wheel_directory, given))


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Without this pip would compile once more, only to learn the name."""
    return wheel.write_metadata(metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    return os.path.basename(wheel.build_sdist(sdist_directory))
