"""The interface ("koppelvlak"): what a message must meet, checked while it streams by.

The acceptance milter and `digipoort lint` judge with the same code. Nothing here knows of Postfix, sockets or SQL.
"""
