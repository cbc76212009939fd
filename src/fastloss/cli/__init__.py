"""The command line, which ``python -m fastloss`` runs: its parser, its commands, and what they print."""
