import fcntl
FILE = open(HERE + '/lock', 'w')
try:
    fcntl.lockf(FILE, fcntl.LOCK_EX | fcntl.LOCK_NB)
    LEADS = True
except OSError:
    LEADS = False
def tell(): return LEADS
