# 3 makes a socket
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    pass
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.sendto(b'up', ('127.0.0.1', 9))
