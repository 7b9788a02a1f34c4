import sys, threading
def mine(*arguments): pass
sys.excepthook = threading.excepthook = sys.unraisablehook = mine
def tell(): return sys.excepthook is threading.excepthook is sys.unraisablehook is mine
