"""The main job on real input: TPC-H orders become invoices (docs/tpch.md)."""
