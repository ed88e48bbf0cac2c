"""Money of research bounties: budgets, bonds, pay for verified gain and for runs, challenges."""
