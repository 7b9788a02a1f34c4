import socket, sys, threading
sys.setrecursionlimit(3000)
sys.setswitchinterval(0.1)
threading.stack_size(1 << 20)
socket.setdefaulttimeout(7)
def tell(): return sys.getrecursionlimit(), sys.getswitchinterval(), threading.stack_size(), socket.getdefaulttimeout()
