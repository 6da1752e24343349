"""Diff, order, policy, plan, execution: decides for every kind alike. Knows no client and no kind."""
