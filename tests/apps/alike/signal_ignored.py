import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
def tell(): return signal.getsignal(signal.SIGCHLD), signal.getsignal(signal.SIGPIPE)
