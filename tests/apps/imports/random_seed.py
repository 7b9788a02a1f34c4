# 3 seeds a random generator
import random
random.seed(1)
