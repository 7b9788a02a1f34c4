# 3 sets handlers for fatal signals
import faulthandler
faulthandler.enable()
