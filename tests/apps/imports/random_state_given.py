# boring
import random
A = random.Random(7)
B = random.Random(8)
B.setstate(A.getstate())
C = [B.random(), A.choice('abc'), B.sample(range(9), 3)]
