import signal, time
RANG = []
signal.signal(signal.SIGALRM, lambda *arguments: RANG.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
def tell():
    del RANG[:]
    until = time.monotonic() + 10
    while not RANG and time.monotonic() < until: time.sleep(0.01)
    return len(RANG) > 0
