"""When jobs run: what is due on the clusters that are ours, in which order it begins, and how it ends."""
