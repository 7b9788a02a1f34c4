# 2 opens //dev/../dev/urandom, which gives random numbers
open('//dev/../dev/urandom', 'rb').read(4)
