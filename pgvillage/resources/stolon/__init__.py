"""stolon's kinds. Nothing here talks to etcd: what was read comes in, what is to be written goes out as a step."""
