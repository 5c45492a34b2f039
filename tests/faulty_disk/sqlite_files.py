"""The C structures through which SQLite uses files, as far as a faulty disk touches them.

A file system of our own in Python (`apsw.VFS`) would be called for every read and write of every
file, each time waiting for the interpreter's lock: what is measured then is the test. So SQLite's
own file system stays in place. Files that it opens get a copy of its table of methods, and only
what shall go wrong at the moment is replaced in that copy.

Source: https://www.sqlite.org/c3ref/vfs.html and https://www.sqlite.org/c3ref/io_methods.html.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from _ctypes import CFuncPtr


class IoMethods(ctypes.Structure):
    """`sqlite3_io_methods`, version 3."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("xClose", ctypes.c_void_p),
        ("xRead", ctypes.c_void_p),
        ("xWrite", ctypes.c_void_p),
        ("xTruncate", ctypes.c_void_p),
        ("xSync", ctypes.c_void_p),
        ("others", ctypes.c_void_p * 13),
    )
    xWrite: int
    xSync: int


class File(ctypes.Structure):
    """`sqlite3_file`: the head of what a file system keeps of an open file."""

    _fields_ = (("pMethods", ctypes.c_void_p),)
    pMethods: int | None


class Vfs(ctypes.Structure):
    """`sqlite3_vfs`, its beginning."""

    _fields_ = (
        ("iVersion", ctypes.c_int),
        ("szOsFile", ctypes.c_int),
        ("mxPathname", ctypes.c_int),
        ("pNext", ctypes.c_void_p),
        ("zName", ctypes.c_char_p),
        ("pAppData", ctypes.c_void_p),
        ("xOpen", ctypes.c_void_p),
    )
    zName: bytes
    xOpen: int


Open = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)
Write = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
)
Sync = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int)


def address_of(function: CFuncPtr) -> int:
    """Where C finds a function; it must be kept alive for as long as C may call it."""
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None, "a function has an address"
    return address


def default_vfs() -> Vfs:
    """The file system that SQLite uses where none is named: not a copy, changes count at once."""
    found = ctypes.c_void_p()
    connection = apsw.Connection(":memory:")
    try:
        asked = connection.file_control(
            "main", apsw.SQLITE_FCNTL_VFS_POINTER, ctypes.addressof(found)
        )
    finally:
        connection.close()
    assert asked, "SQLite tells which file system it uses"
    assert found.value is not None, "SQLite has a file system"
    return Vfs.from_address(found.value)
