# boring
F = open('/dev/stdout', 'w')
