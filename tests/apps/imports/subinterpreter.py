# 4 makes a subinterpreter
try: import _xxsubinterpreters as interpreters
except ImportError: import _interpreters as interpreters
I = interpreters.create()
