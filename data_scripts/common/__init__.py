"""What the scripts in data_scripts/ share: fetch, unpack, check against what is published, write."""
