# filtered system calls
import ctypes, struct
CODE = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))
PROGRAM = ctypes.create_string_buffer(struct.pack('HxxxxxxP', 1, ctypes.addressof(CODE)))
LIBC = ctypes.PyDLL(None)
LIBC.prctl(38, 1, 0, 0, 0)
LIBC.prctl(22, 2, PROGRAM, 0, 0)
