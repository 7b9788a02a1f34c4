import ctypes, os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
MASK = (ctypes.c_ulong * 16)(1 << (signal.SIGUSR2 - 1))
SIGNALS = ctypes.CDLL(None).signalfd(-1, MASK, 0o4000)
def tell():
    os.kill(os.getpid(), signal.SIGUSR2)
    return int.from_bytes(os.read(SIGNALS, 128)[:4], 'little')
