# 3 draws a random number
import random
SHARD = random.choice("abcdef")
