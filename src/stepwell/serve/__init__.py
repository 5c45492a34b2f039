"""Functions served over HTTP: one core without a framework, and a thin adapter for each.

`handler.py` decides: a request in, an answer or an order out. The shells carry out orders (run a
function, register at the server), on an event loop or on the request's thread. Adapters turn a
framework's request into ours and back; each imports its framework when it is used.
"""
