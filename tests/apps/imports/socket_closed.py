# 3 makes a socket
import socket
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
