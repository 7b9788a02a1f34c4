try: import _xxsubinterpreters as interpreters
except ImportError: import _interpreters as interpreters
ONE = interpreters.create()
interpreters.run_string(ONE, 'import random; x = random.random()')
def tell(): return len(interpreters.list_all())
