# boring
import secrets, random, threading, tempfile, subprocess, socket, os
def handler():
    return secrets.token_hex(), random.random(), os.getpid()
class Task(threading.Thread):
    def run(self): os.fork()
T = Task()
