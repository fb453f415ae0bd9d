"""What the demo needs beyond the product: a broker of its own, events with a known truth, a readable summary.

Belongs here: things a production set-up never imports. Not here: landing, models, checks.
"""
