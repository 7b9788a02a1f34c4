# 3 draws a random number
import random
N = [random.gauss(0, 1) for _ in range(3)]
