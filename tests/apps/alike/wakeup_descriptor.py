import os, signal
READER, WRITER = os.pipe()
os.set_blocking(WRITER, False)
signal.set_wakeup_fd(WRITER)
signal.signal(signal.SIGUSR2, lambda *arguments: None)
def tell():
    os.kill(os.getpid(), signal.SIGUSR2)
    return os.read(READER, 1)[0]
