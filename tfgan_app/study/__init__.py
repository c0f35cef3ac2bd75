"""What is found out about a generator: scores with receipts, copies, collapse, a report."""
