"""A typed client of the REST API, made from the contract."""

from client.client import Client
from client.problems import Problem, Unreachable
from client.requests import Options

__all__ = ["Client", "Options", "Problem", "Unreachable"]
