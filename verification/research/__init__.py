"""Facts of research bounties: candidates, their runs and hosts, the tip chain, findings and ideas. No money."""
