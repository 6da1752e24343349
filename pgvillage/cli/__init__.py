"""The command line: one module a verb. Reads arguments, calls one use case, prints its report; decides nothing."""
