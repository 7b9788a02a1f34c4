import ctypes, os
LIBC = ctypes.CDLL(None)
WATCH = LIBC.inotify_init1(0x800)
LIBC.inotify_add_watch(WATCH, HERE.encode(), 0x100)
def tell():
    open('%s/seen-%d' % (HERE, os.getpid()), 'w').close()
    return len(os.read(WATCH, 4096)) > 0
