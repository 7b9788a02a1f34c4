# boring
import contextvars, threading, logging, queue
L = threading.Lock(); R = threading.RLock(); E = threading.Event(); T = threading.local()
V = contextvars.ContextVar('v')
Q = queue.Queue()
with L, R: pass
logging.getLogger('x').warning('y')
N = threading.current_thread().name
