# 3 seeds a random generator
import random, time
R = random.Random(time.time())
