"""Finds the glibc that an executable and what is embedded in it require."""

import re
import struct
import zlib

# Constants of the ELF format (System V gABI, chapters 4 and 5).
VERNEED = 0x6FFFFFFE
DYNAMIC = 6
NEEDED = 1
MAGIC = b"\x7fELF\x02\x01\x01"
MACHINES = {62: "x86_64", 183: "aarch64"}
# What stands before the native module, with the number of its bytes after it; before what other modules change in it;
# and before the executable of fronts (build.rs).
WHOLE = b"rcorn module, RFC 1950:\n"
CHANGES = b"rcorn change, RFC 1950:\n"
FRONT = b"rcorn front, RFC 1950: \n"


class Image:
    """A 64-bit little-endian ELF file."""

    def __init__(self, data):
        self.data = data
        header = struct.unpack_from("<HHIQQQIHHHHHH", data, 16)
        self.machine = header[1]
        at, size, count = header[5], header[10], header[11]
        self.sections = [struct.unpack_from("<IIQQQQIIQQ", data, at + i * size) for i in range(count)]

    def versions(self):
        """The required symbol versions, as (library, version)."""
        for section in self.sections:
            if section[1] != VERNEED:
                continue
            strings = self.sections[section[6]][4]
            at = section[4]
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
                strings = self.sections[section[6]][4]
                for at in range(section[4], section[4] + section[5], 16):
                    tag, value = struct.unpack_from("<QQ", self.data, at)
                    if tag == NEEDED:
                        yield self.text(strings + value)

    def text(self, at):
        return self.data[at : self.data.index(b"\0", at)].decode()


def decompressed(data, mark):
    """What is embedded in the executable after this mark."""
    for match in re.finditer(re.escape(mark), data):
        (size,) = struct.unpack_from("<Q", data, match.end())
        start = match.end() + 8
        yield zlib.decompress(data[start : start + size])


def numbers(data, at, count):
    """So many numbers in the form of LEB128, and where they end."""
    read = []
    while len(read) < count:
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        read.append(number)
    return read, at


def changed(base, changes):
    """What changes make of a module; src/driver/changes.rs has the form."""
    (count,) = struct.unpack_from("<Q", changes)
    similar, at = numbers(changes, 8, count)
    new, at = numbers(changes, at, count)
    skips, added = numbers(changes, at, count)
    at = added + sum(new)
    made, place = bytearray(), 0
    for same, more, skip in zip(similar, new, skips):
        made += bytes((old + difference) & 255 for old, difference in zip(base[place : place + same], changes[at : at + same]))
        made += changes[added : added + more]
        at, added = at + same, added + more
        place += same - (skip >> 1) if skip & 1 else same + (skip >> 1)
    return bytes(made)


def modules(data):
    """The native modules that are embedded in the executable."""
    for base in decompressed(data, WHOLE):
        yield base
        for changes in decompressed(data, CHANGES):
            yield changed(base, changes)


def contains_front(data):
    """Whether the executable of fronts is embedded in this one."""
    return any(decompressed(data, FRONT))


def images(data):
    """The executable, and the modules and the executable of fronts embedded in it."""
    if not data.startswith(MAGIC):
        raise SystemExit("error: the executable is not a 64-bit little-endian ELF file; hint: rcorn is built for Linux on x86_64 and aarch64")
    return [Image(file) for file in [data, *modules(data), *decompressed(data, FRONT)]]


def machine(data):
    """The machine, as printed by `uname -m`."""
    number = Image(data).machine
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
