logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"bare": {"format": "%(message)s"}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "bare"}},
    "root": {"level": "WARNING", "handlers": ["out"]},
    "loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["out"], "propagate": False}},
}
