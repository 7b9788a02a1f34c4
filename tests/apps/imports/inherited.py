# boring
import os, resource
os.umask(0o22)
os.environ['X'] = '1'
os.nice(1)
resource.getrlimit(resource.RLIMIT_NOFILE)
