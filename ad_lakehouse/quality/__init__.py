"""Whether the data can be trusted: contracts, the ledger, freshness.

Belongs here: what is checked, and checking it. Not here: telling anyone (alerts), when it is checked (defs),
stopping a build (dbt_delta). Importing this package does not import Soda; the first audit does.
"""
