# 3 makes a socket
import socket
A = socket.socketpair()
