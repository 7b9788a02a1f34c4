# boring
import asyncio, signal, atexit, mmap, fcntl, uuid, random, secrets, tempfile, multiprocessing, sqlite3, subprocess, threading, socket, ssl, ctypes, faulthandler, select, selectors, http.server, socketserver, logging.handlers, dbm, shelve, concurrent.futures.process
