import os
ONE = min(os.sched_getaffinity(0))
os.sched_setaffinity(0, {ONE})
def tell(): return os.sched_getaffinity(0) == {ONE}
