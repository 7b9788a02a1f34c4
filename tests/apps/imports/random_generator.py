# 3 seeds a random generator
import random
R = random.Random()
