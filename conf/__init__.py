"""The Hydra configuration of salip_exp; in an installation this folder is the package `salip_exp.conf`."""
