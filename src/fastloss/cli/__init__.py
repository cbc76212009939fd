"""The command line: ``python -m fastloss`` or ``fastloss``."""
