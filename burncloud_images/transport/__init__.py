"""The rooms with effects: sockets, files, time."""
