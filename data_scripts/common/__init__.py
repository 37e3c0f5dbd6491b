"""The parts that the scripts in data_scripts/ share: download, unpack, check against published facts, write."""
