"""Invoices, money, rules, numbers: pure functions and values, no I/O, standard library only."""
