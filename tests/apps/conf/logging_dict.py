# Every record as JSON, the access log among them.
import json
import logging


class Json(logging.Formatter):
    def format(self, record):
        said = {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.name == "gunicorn.access":
            said.update(status=int(record.args["s"]), path=record.args["U"], agent=record.args["{user-agent}i"])
            said.update(micros=record.args["D"] >= 0, type=record.args["{content-type}o"])
        return json.dumps(said)


accesslog = "-"
access_log_format = '%(h)s "%(r)s" %(s)s %(b)s %({x-asked}i)s %({nothing}i)s'
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": Json}},
    "handlers": {"out": {"class": "logging.StreamHandler", "stream": "ext://sys.stdout", "formatter": "json"}},
    "root": {"level": "INFO", "handlers": ["out"]},
    "loggers": {"gunicorn.access": {"level": "INFO", "handlers": ["out"], "propagate": False}},
}
