# A platform that says by the environment where to listen, behind its own proxy.
import os

bind = os.environ["BIND"]
forwarded_allow_ips = "*"
secure_scheme_headers = {"X-FORWARDED-PROTO": "https", "X-SCHEME": "https"}
raw_env = [
    "STAGE=" + os.environ.get("STAGE", "production"),
    f"STARTED_BY={os.path.basename(__file__)}",
]
limit_request_line = 8190
forwarder_headers = "SCRIPT_NAME,PATH_INFO,REMOTE_USER"
worker_tmp_dir = "/dev/shm"
statsd_host = os.environ.get("STATSD")
reload = os.environ.get("STAGE") == "development"
preload_app = True
