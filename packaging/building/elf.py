"""Finds the glibc that an executable and the modules embedded in it require."""

import re
import struct
import zlib

# Constants of the ELF format (System V gABI, chapters 4 and 5).
VERNEED = 0x6FFFFFFE
DYNAMIC = 6
NEEDED = 1
MAGIC = b"\x7fELF\x02\x01\x01"
MACHINES = {62: "x86_64", 183: "aarch64"}
# What stands before a compressed module (build.rs), with the number of its bytes after it.
COMPRESSED = b"rcorn module, RFC 1951:\n"


class Image:
    """A 64-bit little-endian ELF file inside a byte string."""

    def __init__(self, data, start):
        self.data = data
        self.start = start
        header = struct.unpack_from("<HHIQQQIHHHHHH", data, start + 16)
        self.machine = header[1]
        at, size, count = header[5], header[10], header[11]
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + at + i * size) for i in range(count)]
        self.end = start + max([at + size * count, *(s[4] + s[5] for s in self.sections if s[1] != 8)])

    def bytes(self):
        """The bytes of the file."""
        return self.data[self.start : self.end]

    def versions(self):
        """The required symbol versions, as (library, version)."""
        for section in self.sections:
            if section[1] != VERNEED:
                continue
            strings = self.start + self.sections[section[6]][4]
            at = self.start + section[4]
            while True:
                _, count, library, first, step = struct.unpack_from("<HHIII", self.data, at)
                entry = at + first
                for _ in range(count):
                    _, _, _, name, following = struct.unpack_from("<IHHII", self.data, entry)
                    yield self.text(strings + library), self.text(strings + name)
                    entry += following
                at += step
                if not step:
                    break

    def libraries(self):
        """The libraries that the loader must find."""
        for section in self.sections:
            if section[1] == DYNAMIC:
                strings = self.start + self.sections[section[6]][4]
                for at in range(self.start + section[4], self.start + section[4] + section[5], 16):
                    tag, value = struct.unpack_from("<QQ", self.data, at)
                    if tag == NEEDED:
                        yield self.text(strings + value)

    def text(self, at):
        return self.data[at : self.data.index(b"\0", at)].decode()


def compressed(data):
    """The files that are embedded in the executable compressed."""
    for match in re.finditer(re.escape(COMPRESSED), data):
        (size,) = struct.unpack_from("<Q", data, match.end())
        start = match.end() + 8
        yield zlib.decompress(data[start : start + size], -zlib.MAX_WBITS)


def images(data):
    """The executable, and all ELF files embedded in it."""
    if not data.startswith(MAGIC):
        raise SystemExit("error: the executable is not a 64-bit little-endian ELF file; hint: rcorn is built for Linux on x86_64 and aarch64")
    found = [Image(data, 0)]
    for match in re.finditer(re.escape(MAGIC), data[1:]):
        try:
            image = Image(data, match.start() + 1)
        except struct.error:
            continue
        # A bare magic number, as in a parser, is not a file.
        if image.machine == found[0].machine and image.sections and image.end <= len(data):
            found.append(image)
    return found + [Image(module, 0) for module in compressed(data)]


def machine(data):
    """The machine, as printed by `uname -m`."""
    number = Image(data, 0).machine
    return MACHINES.get(number, f"machine{number}")


def glibc(data):
    """The oldest glibc that executable and modules run with, as (2, minor); None if they need none."""
    wanted = [
        tuple(int(part) for part in version[len("GLIBC_") :].split("."))
        for image in images(data)
        for _, version in image.versions()
        if re.fullmatch(r"GLIBC_\d+\.\d+(\.\d+)?", version)
    ]
    return max(wanted)[:2] if wanted else None
