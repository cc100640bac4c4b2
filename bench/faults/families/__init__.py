"""Faults by family: of runs, of values, of inputs and outputs, of models, of labels."""
