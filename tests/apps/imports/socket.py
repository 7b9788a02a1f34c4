# 3 makes a socket
import socket
S = socket.socket()
