"""Stands in for a package that takes two seconds wherever nbformat is imported.

jsonschema checks addresses with it, of which notebooks have none, and does without it where it is absent.
"""

raise ImportError
