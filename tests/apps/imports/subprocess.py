# 3 starts a process (true)
import subprocess
subprocess.run(['true'])
