# gunicorn configuration
bind = "0.0.0.0:8000"
workers = 4
threads = 2
worker_class = "gthread"
timeout = 120
keepalive = 5
max_requests = 1_000
max_requests_jitter = 50
accesslog = "-"
errorlog = "-"
loglevel = "info"
preload_app = True
raw_env = [
    "DJANGO_SETTINGS_MODULE=shop.settings",  # one
    "EMPTY=",
]
forwarded_allow_ips = "*"
umask = 0o007
proc_name = None
user = 1000
