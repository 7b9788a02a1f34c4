import contextvars, decimal, threading
VARIABLE = contextvars.ContextVar('v', default=0)
VARIABLE.set(7)
LOCAL = threading.local()
LOCAL.value = 8
decimal.getcontext().prec = 50
def tell(): return VARIABLE.get(), LOCAL.value, decimal.getcontext().prec
