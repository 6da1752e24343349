"""What a cluster's nodes say, compared: what is wrong, what may be done, in which order. Pure; no client, no kind."""
