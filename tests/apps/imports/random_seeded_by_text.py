# boring
import random
R = random.Random("shop")
TABLE = [R.random() for _ in range(10)]
