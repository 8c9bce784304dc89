"""Helpers for the course: notebooks tell, helpers do.

Data flows one way: paths -> corpus -> models -> activations -> vectors -> geometry | steering -> run.
"""
