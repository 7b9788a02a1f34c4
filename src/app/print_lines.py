# Makes sys.stdout and sys.stderr write a line when it is printed, and in one piece (print_lines.rs).
import io
import sys

# How much text is held until a line ends: as much as the longest line that is logged in one piece.
MOST = 256 * 1024


class Unbuffered(io.BufferedWriter):
    """Writes at once, as the file does, but for one thread after the other."""

    def write(self, data):
        written = super().write(data)
        self.flush()
        return written


def prepare():
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        # Somebody's own object is left as it is.
        if type(stream) is not io.TextIOWrapper:
            continue
        if isinstance(stream.buffer, io.RawIOBase):
            # PYTHONUNBUFFERED: what several threads write at once would mix in a full pipe. The old
            # stream stays open as `sys.__stdout__`.
            buffer = Unbuffered(stream.buffer)
            buffered = io.TextIOWrapper(buffer, stream.encoding, stream.errors, newline="\n")
            buffered.mode = stream.mode
            setattr(sys, name, buffered)
            stream = buffered
        # Without the second argument the end of a line is a write of its own there.
        stream.reconfigure(line_buffering=True, write_through=False)
        # Python writes a longer text before its end, 8 KiB by default.
        stream._CHUNK_SIZE = MOST
