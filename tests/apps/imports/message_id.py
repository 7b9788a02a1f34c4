# 3 asks for the process id
import email.utils
I = email.utils.make_msgid(domain='x')
