"""A working day: lookers, sellers, storekeepers and accountants, about as many as there would be.

`make load`, or by hand `locust -f tests/load/locustfile.py`; each of the other files is the load
on one main route alone, such as `locust -f tests/load/orders.py`.
"""

from books import Accountant
from catalogue import Browser
from orders import Seller
from stock import Storekeeper

__all__ = ["Accountant", "Browser", "Seller", "Storekeeper"]
