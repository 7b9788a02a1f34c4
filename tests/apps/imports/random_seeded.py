# boring
import random
R = random.Random(7)
TABLE = [R.random() for _ in range(1000)]
