"""The two-layer network: truth tables, one setting, the equations, the hand-designed networks, initial weights."""
