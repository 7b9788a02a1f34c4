# 3 makes a socket
import http.server
S = http.server.HTTPServer(('127.0.0.1', 0), None)
