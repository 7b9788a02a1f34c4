import sys, threading, tracemalloc
def trace(*arguments): return None
sys.setprofile(trace)
threading.setprofile(trace)
tracemalloc.start()
def tell(): return sys.getprofile() is trace, tracemalloc.is_tracing()
