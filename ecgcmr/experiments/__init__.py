"""Experiments: stages composed in one YAML file, each handing its exported encoder on, ending in a table of results."""
