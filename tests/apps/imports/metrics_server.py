# 3 starts a thread
import http.server, threading
threading.Thread(target=http.server.HTTPServer(('127.0.0.1', 0), None).serve_forever, daemon=True).start()
