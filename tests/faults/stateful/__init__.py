"""State machines: one object a module, with its model in plain Python beside the rules that compare the two."""
