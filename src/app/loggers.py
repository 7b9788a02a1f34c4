# Python's loggers as --log-config, --log-config-json and logconfig_dict say, over gunicorn's own defaults.
import json
import logging.config

DEFAULTS = {
    "version": 1,
    "disable_existing_loggers": False,
    "root": {"level": "INFO", "handlers": ["console"]},
    "loggers": {
        "gunicorn.error": {
            "level": "INFO",
            "handlers": ["error_console"],
            "propagate": True,
            "qualname": "gunicorn.error",
        },
        "gunicorn.access": {
            "level": "INFO",
            "handlers": ["console"],
            "propagate": True,
            "qualname": "gunicorn.access",
        },
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stdout"},
        "error_console": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
    },
    "formatters": {
        "generic": {
            "format": "%(asctime)s [%(process)d] [%(levelname)s] %(message)s",
            "datefmt": "[%Y-%m-%d %H:%M:%S %z]",
            "class": "logging.Formatter",
        }
    },
}


def apply(mapping, as_json, as_ini):
    if mapping is None and as_json:
        with open(as_json, encoding="utf-8") as file:
            mapping = json.load(file)
    if mapping is not None:
        logging.config.dictConfig({**DEFAULTS, **mapping})
        return
    defaults = {**DEFAULTS, "__file__": as_ini, "here": as_ini.rpartition("/")[0]}
    logging.config.fileConfig(as_ini, defaults=defaults, disable_existing_loggers=False)


def access_logger(format):
    """What writes the access log: called with the atoms of one request."""
    info = logging.getLogger("gunicorn.access").info
    return lambda atoms: info(format, Atoms(atoms))


class Atoms(dict):
    """Names in braces are looked up without regard to case; what is missing is a dash."""

    def __missing__(self, name):
        return self.get(name.lower(), "-") if name.startswith("{") else "-"
