# boring
import socket, platform
H = socket.gethostname()
N = platform.node()
