# boring
N = hash('which differs from start to start, not from worker to worker') % 1024
O = id(object())
