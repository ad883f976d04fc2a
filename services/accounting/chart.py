"""The chart of accounts that every company starts with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TemplateAccount:
    """One account of the template: a group, or what belongs under it."""

    code: str
    name: str
    kind: str
    parent_code: str = ""
    # What the system itself posts here; empty when nothing.
    role: str = ""


TEMPLATE = (
    TemplateAccount("1", "Assets", "asset"),
    TemplateAccount("1000", "Cash", "asset", "1", "cash"),
    TemplateAccount("1010", "Bank", "asset", "1", "bank"),
    TemplateAccount("1200", "Accounts receivable", "asset", "1", "receivable"),
    TemplateAccount("1400", "Inventory", "asset", "1", "inventory"),
    TemplateAccount("2", "Liabilities", "liability"),
    TemplateAccount("2000", "Accounts payable", "liability", "2", "payable"),
    TemplateAccount("2100", "Goods received not invoiced", "liability", "2", "goods_received"),
    TemplateAccount("2200", "Sales tax payable", "liability", "2", "sales_tax"),
    TemplateAccount("3", "Owners' equity", "equity"),
    TemplateAccount("3000", "Equity", "equity", "3"),
    TemplateAccount("3900", "Retained earnings", "equity", "3", "retained_earnings"),
    TemplateAccount("4", "Revenue", "revenue"),
    TemplateAccount("4000", "Sales revenue", "revenue", "4", "revenue"),
    TemplateAccount("5", "Cost of sales", "expense"),
    TemplateAccount("5000", "Cost of goods sold", "expense", "5", "cost_of_sales"),
    TemplateAccount("5100", "Inventory adjustments", "expense", "5", "inventory_adjustment"),
    TemplateAccount("6", "Expenses", "expense"),
    TemplateAccount("6000", "Operating expenses", "expense", "6"),
)
