"""The build backend that pip calls (PEP 517)."""

import os

from . import wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    given = (config_settings or {}).get("executable")
    return os.path.basename(wheel.build_wheel(wheel_directory, given))


def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    """Returns the metadata without a build; without this hook pip would compile twice."""
    return wheel.write_metadata(metadata_directory)


def build_sdist(sdist_directory, config_settings=None):
    return os.path.basename(wheel.build_sdist(sdist_directory))
