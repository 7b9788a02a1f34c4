# left a function for the exit
import weakref
class A: pass
X = A()
weakref.finalize(X, lambda: None)
