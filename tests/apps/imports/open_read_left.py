# left
F = open(__file__, 'rb')
