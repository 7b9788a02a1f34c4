# 3 maps memory for writing
import mmap
M = mmap.mmap(-1, 4096)
