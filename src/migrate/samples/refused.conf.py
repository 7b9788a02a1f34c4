worker_class = 'gevent'
worker_connections = 0x400
bind = '127.0.0.1:http'
workers = 0
certfile = '/etc/tls.crt'
keyfile = None
worker_tmp_dir = '/dev/shm'
access_log_format = '%(h)s "%(r)s" \'%(s)s\''
my_own = {'a': [1, 2]}
proc_name = "yes"
raw_env = ('NOVALUE', 'A=it: is', "B='\n")
http_protocols = "h1"
timeout = 2.5
