"""What `pgvillage demo` needs: real servers as ordinary processes, and what is shown on them. For the cli alone."""
