"""A country, tile by tile: plan, engine, store, ledger."""
