"""The `stepwell` command line: one module a command, `main` the entry, `root` the table of them.

Commands that talk to a server never import server modules; rich is imported where a terminal is
drawn on and nowhere else.
"""
