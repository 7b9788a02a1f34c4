# 3 writes to the system's log
import syslog
syslog.openlog('app')
