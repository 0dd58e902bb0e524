"""Finds distillation campaigns in the request events of a model API."""
