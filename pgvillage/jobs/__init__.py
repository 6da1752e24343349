"""When a job runs, what its texts mean and in which order its steps go. Pure; knows no manifest and runs nothing."""
