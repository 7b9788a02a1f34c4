import os
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
def tell(): return os.getresuid(), os.getresgid(), os.getgroups()
