"""`python -m ad_lakehouse` is the command `ad-lakehouse`."""

from ad_lakehouse.cli import main

main()
