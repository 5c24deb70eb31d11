"""Where records are kept. Every one of them passes L{microd.testing.store_contract}."""
